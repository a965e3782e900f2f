"""The log of evaluations: which bundle was measured on which films, when, and by what commit.

A test set that is looked at often is chosen by, in the end; a log shows how often it was.
"""

import csv
import datetime
import io
from pathlib import Path
from typing import Any

from filelock import FileLock

from pneumonia.errors import DataError
from pneumonia.files import atomic_write
from pneumonia.provenance import git_state

_FIGURES = ("auroc", "accuracy", "sensitivity", "specificity", "ece")
COLUMNS = ("when", "commit", "dirty", "bundle", "split", "data_digest", "n", *_FIGURES)


def log_evaluation(path: Path, report: dict[str, Any]) -> None:
    """Add a row of `COLUMNS` for a report to a CSV file, which is made where there is none; whole or not at all.

    Raises `DataError` for a file with other columns, which stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        before = path.read_text(encoding="utf-8") if path.is_file() else ",".join(COLUMNS) + "\n"
        if before.partition("\n")[0] != ",".join(COLUMNS):
            raise DataError(f"{path} is no log of evaluations: its columns are not {', '.join(COLUMNS)}. Name another.")
        buffer = io.StringIO()
        csv.DictWriter(buffer, COLUMNS, lineterminator="\n").writerow(_row(report))
        with atomic_write(path) as temporary:
            temporary.write_text(before + buffer.getvalue(), encoding="utf-8")


def _row(report: dict[str, Any]) -> dict[str, Any]:
    git, model = git_state(), report["model"]
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": str(git["commit"] or "")[:12],
        "dirty": git["dirty"],
        "bundle": f"{model['name']}:{model['version']}",
        "split": report["split"],
        "data_digest": report["data_digest"][:12],
        "n": report["n"],
        **{name: None if (value := report[name]["value"]) is None else round(value, 4) for name in _FIGURES},
    }
