"""The report of an evaluation: what was measured, on which films, as JSON, as a table of predictions and as a page."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from pneumonia.data.manifest import LABELS
from pneumonia.evaluation.answers import answer_figures
from pneumonia.evaluation.answers_page import answers_section
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import LEVEL, RESAMPLES, bootstrap_intervals
from pneumonia.evaluation.metrics import confusion
from pneumonia.evaluation.page import render_page
from pneumonia.evaluation.robustness_page import robustness_section
from pneumonia.evaluation.subgroups import subgroup_figures
from pneumonia.files import atomic_write, write_json

WORST_ERRORS = 20


def build_report(
    inputs: EvaluationInput, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Any]:
    """Everything that `report.json` holds, ready for strict JSON: None stands for what is undefined.

    `n`, `positives` and `patients` count; each metric is `{"value", "low", "high"}`; `threshold`, `temperature`
    and `offset` are the operating point's; `level`, `resamples` and `seed` the bootstrap's; `subgroups` has what
    `subgroup_figures` gives. `worst_errors` are up to 20 films that were called wrong, those first whose true label
    was given the least probability. `answer_figures` are there when the inputs have `answers`. The same inputs give the
    same report: there is no date in it.

    Raises what `bootstrap_intervals` raises.
    """
    intervals = bootstrap_intervals(
        inputs.labels, inputs.probabilities, inputs.threshold, inputs.patients, resamples, seed, level
    )
    return {
        "model": dict(inputs.model),
        "split": inputs.split,
        "synthetic": inputs.synthetic,
        "data_digest": inputs.data_digest,
        "n": len(inputs.labels),
        "positives": int(np.sum(inputs.labels)),
        "patients": len(set(inputs.patients)),
        **{name: interval.as_json() for name, interval in intervals.items()},
        "threshold": float(inputs.threshold),
        "temperature": float(inputs.temperature),
        "offset": float(inputs.offset),
        "level": level,
        "resamples": resamples,
        "seed": seed,
        "confusion_matrix": confusion(inputs.labels, inputs.probabilities, inputs.threshold)._asdict(),
        "subgroups": subgroup_figures(inputs, resamples, seed, level),
        "worst_errors": _worst_errors(inputs),
        **(answer_figures(inputs.answers, inputs.patients, resamples, seed, level) if inputs.answers else {}),
    }


def write_report(directory: Path | str, report: dict[str, Any], inputs: EvaluationInput) -> None:
    """Write `predictions.csv`, `report.html` and `report.json` into a directory, each whole or not at all.

    Other files there stay. `report.json` is last: where it is, the others are. A probability is written with all its
    digits, so that every figure can be computed again from the table.
    """
    directory = Path(directory)
    # A file name that is no UTF-8 goes back to the bytes it came from.
    with (
        atomic_write(directory / "predictions.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "probability", "prediction"])
        rows = zip(inputs.paths, inputs.labels, inputs.probabilities, inputs.predictions, strict=True)
        for path, label, probability, prediction in rows:
            writer.writerow([path, LABELS[label], float(probability), LABELS[prediction]])
    with atomic_write(directory / "report.html") as temporary:
        page = render_page(report, inputs, answers_section(report) + robustness_section(report))
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    write_json(directory / "report.json", report)


def _worst_errors(inputs: EvaluationInput) -> list[dict[str, Any]]:
    labels, probabilities = np.asarray(inputs.labels), np.asarray(inputs.probabilities, dtype=np.float64)
    given_to_truth = np.where(labels == 1, probabilities, 1 - probabilities)
    wrong = np.flatnonzero(inputs.predictions != labels).tolist()
    worst = sorted(wrong, key=lambda film: (given_to_truth[film], inputs.paths[film]))[:WORST_ERRORS]
    return [
        {"path": inputs.paths[film], "label": LABELS[labels[film]], "probability": float(probabilities[film])}
        for film in worst
    ]
