"""The page's sections on prediction sets, input check, several classes and heatmaps: what they say of which figures."""

from html.parser import HTMLParser

import pytest

from pneumonia.data.manifest import LABELS, PATHOGENS
from pneumonia.evaluation.answers_page import answers_section

UNDEFINED = {"value": None, "low": None, "high": None}


def share(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def set_figures(names=LABELS, decided=None):
    return {
        "coverage": 0.9,
        "covered": {name: share(0.8 + place / 20) for place, name in enumerate(names)},
        "decided": decided or share(0.7),
        "undecided": share(0.2),
        "empty": share(0.1),
        "accuracy_decided": share(0.6),
    }


def class_figures(names=PATHOGENS):
    return {
        "names": list(names),
        "accuracy": share(0.9),
        "recall": {name: share(0.5 + place / 10) for place, name in enumerate(names)},
        "confusion_matrix": [[1, 2, 3], [4, 5, 6], [7, 8, 9000]],
    }


class Page(HTMLParser):
    """Its tags, its text, and the cells of its tables by row."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.rows, self.texts = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        self.texts.append(data)
        if self.tags[-1] in ("td", "th"):
            self.rows[-1].append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def test_a_report_without_any_of_them_has_no_section():
    assert answers_section({"n": 3, "auroc": {}}) == ""


def test_every_share_of_the_sets_is_said_and_what_was_asked():
    page = Page(answers_section({"prediction_sets": set_figures()}))
    assert "should hold a film's class in 90% of its films" in page.text
    assert [cells[0] for cells in page.rows[1:3]] == [f"{name} films whose set holds {name}" for name in LABELS]
    assert [cells[1].split()[0] for cells in page.rows[1:]] == ["0.800", "0.850", "0.700", "0.200", "0.100", "0.600"]


def test_what_is_undefined_is_said_in_words():
    page = Page(answers_section({"prediction_sets": set_figures(decided=UNDEFINED)}))
    assert page.rows[3][1] == "undefined"


def test_what_the_input_check_refused_is_counted():
    page = Page(answers_section({"input_check": {"refused": share(0.25), "count": 1234}}))
    assert "It refused 1,234 of these films: 0.250 (0.150-0.350)" in page.text


def test_the_matrix_has_what_films_are_in_rows():
    page = Page(answers_section({"classes": class_figures()}))
    assert page.rows[0] == ["Is", "Called NORMAL", "Called BACTERIA", "Called VIRUS", "Share called so"]
    assert [cells[:4] for cells in page.rows[1:]] == [
        ["NORMAL", "1", "2", "3"],
        ["BACTERIA", "4", "5", "6"],
        ["VIRUS", "7", "8", "9,000"],
    ]


def test_every_class_has_its_own_recall():
    page = Page(answers_section({"classes": class_figures()}))
    assert [cells[4].split()[0] for cells in page.rows[1:]] == ["0.500", "0.600", "0.700"]


@pytest.mark.parametrize(
    "make", [lambda names: {"prediction_sets": set_figures(names)}, lambda names: {"classes": class_figures(names)}]
)
def test_names_of_classes_are_text_and_never_markup(make):
    assert not {"script", "b", "i"} & set(Page(answers_section(make(("<script>", "<b>", "<i>")))).tags)


def test_what_heatmaps_are_worth_is_said_beside_random_masks():
    areas = {"deletion": {"heatmap": 0.2, "random": 0.6}, "insertion": {"heatmap": 0.9, "random": 0.7}}
    beats = {"deletion_beats": share(0.5), "insertion_beats": share(0.75), "both_beat": share(0.25)}
    beats["log_odds"] = {"both_beat": share(0.625)}
    page = Page(answers_section({"faithfulness": {"n": 1234, **areas, **beats, "baseline": 0.0625}}))
    assert [cells[:3] for cells in page.rows[1:]] == [
        ["Deletion (smaller is better)", "0.200", "0.600"],
        ["Insertion (larger is better)", "0.900", "0.700"],
    ]
    assert [cells[3].split()[0] for cells in page.rows[1:]] == ["0.500", "0.750"]
    assert "1,234 films called PNEUMONIA" in page.text
    assert "the mean NORMAL film (probability 0.062)" in page.text
    assert "which do not saturate, for 0.625" in page.text


def test_where_there_was_no_heatmap_to_measure_the_page_says_so():
    assert "No film was called PNEUMONIA." in answers_section({"faithfulness": {"n": 0}})
