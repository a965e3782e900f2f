"""What is kept of many films: a table as CSV and a report as HTML, and what the page's table is given."""

import csv
import html
import io
import json
import re
from dataclasses import replace

from pneumonia.demo import problems
from pneumonia.demo.batch import Row
from pneumonia.demo.saving import COLUMNS, as_csv, as_report
from pneumonia.demo.strings import Strings
from pneumonia.demo.table import file_to_save, table_frame, table_news
from tests.demo.test_batch import answer

SAY = Strings("en")
ROWS = [
    Row(0, "a.png", "answered", "data:image/jpeg;base64,AA==", answer(0.75)),
    Row(1, '=HYPERLINK("x")', "refused", "", answer(0.9, passed=False)),
    Row(2, "<b>.png", "failed", "", problem=problems.DOWN),
]


def test_the_csv_has_a_line_for_each_file() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(ROWS, "note"))))
    assert tuple(lines[0]) == COLUMNS
    assert [line["status"] for line in lines] == ["answered", "refused", "failed"]
    assert (lines[0]["probability"], lines[0]["threshold"]) == ("0.750000", "0.500000")
    assert lines[1]["input_check"] == "The image is blank or nearly so."
    assert lines[2]["error"] == "down"
    assert {line["note"] for line in lines} == {"note"}


def test_no_cell_of_the_csv_is_a_formula() -> None:
    assert all(not cell.startswith("=") for line in csv.reader(io.StringIO(as_csv(ROWS, "-"))) for cell in line)


def test_the_report_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = as_report(ROWS, SAY, "today")
    assert "<b>.png" not in page
    assert html.escape("<b>.png") in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert SAY("disclaimer") in page
    assert "1 films answered" in page
    assert "Made today by cnn:1." in page
    assert "75.0%" in page


def test_the_table_is_given_data_and_never_markup() -> None:
    news = table_news(ROWS, SAY, "run", 3, 5, "running")
    assert "<b>.png" not in news
    told = json.loads(html.unescape(re.search(r'data-news="([^"]*)"', news).group(1)))  # type: ignore[union-attr]
    assert (told["done"], told["total"], told["state"]) == (3, 5, "running")
    assert [row["name"] for row in told["rows"]] == [row.name for row in ROWS]
    assert [row["probability"] for row in told["rows"]] == [0.75, None, None]
    assert told["rows"][1]["verdict"] == "No answer"
    assert "can't be reached" in told["rows"][2]["verdict"]


def test_a_film_that_may_be_both_says_so() -> None:
    unsure = replace(answer(0.6), abstained=True, prediction_set=["NORMAL", "PNEUMONIA"])
    row = Row(0, "a", "answered", "", unsure)
    told = html.unescape(table_news([row], SAY, "run", 1, 1, "done"))
    assert "Not sure: Pneumonia" in told
    assert "Possible: normal, pneumonia." in told


def test_each_file_to_save_is_another_answer() -> None:
    assert file_to_save("a.csv", "text/csv", "x") != file_to_save("a.csv", "text/csv", "x")


def test_the_frame_s_columns_say_how_they_are_sorted() -> None:
    assert table_frame(SAY).count('aria-sort="none"') == 3
