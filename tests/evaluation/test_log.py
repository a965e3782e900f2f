"""The log of evaluations."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pneumonia.errors import DataError
from pneumonia.evaluation.log import COLUMNS, log_evaluation


def report(version: str = "0123456789ab") -> dict[str, Any]:
    figures = {name: {"value": 0.98765, "low": 0.9, "high": 1.0} for name in COLUMNS[-5:]}
    model = {"name": "cnn", "version": version}
    return {"model": model, "split": "test", "data_digest": "d" * 64, "n": 307, **figures}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_evaluation_adds_a_row_with_what_was_measured_and_by_which_commit(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "runs.csv"
    log_evaluation(path, report("first"))
    log_evaluation(path, report("second"))
    first, second = rows_of(path)
    assert (first["bundle"], second["bundle"]) == ("cnn:first", "cnn:second")
    assert (first["split"], first["n"], first["auroc"]) == ("test", "307", "0.9877")
    assert set(first) == set(COLUMNS)


def test_an_undefined_figure_is_an_empty_cell(tmp_path: Path) -> None:
    log_evaluation(tmp_path / "runs.csv", report() | {"auroc": {"value": None, "low": None, "high": None}})
    assert rows_of(tmp_path / "runs.csv")[0]["auroc"] == ""


def test_evaluations_at_once_lose_no_row(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: log_evaluation(tmp_path / "runs.csv", report(str(index))), range(24)))
    assert {row["bundle"] for row in rows_of(tmp_path / "runs.csv")} == {f"cnn:{index}" for index in range(24)}


def test_another_table_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"notes\.csv"):
        log_evaluation(path, report())
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"
