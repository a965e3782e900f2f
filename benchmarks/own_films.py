"""What a site gains by `pneumonia recalibrate` on its own films, and how many films that takes.

Reads the folder that `pneumonia evaluate` wrote. Patients are drawn until there are as many films as asked for; offset
and threshold are fitted on them as `recalibrate` fits them, and the figures are those of the other patients' films;
again and again. It tells the place of a threshold from what a network can't tell apart. Beside the calibration error
after an offset stands that after an offset and a slope (Platt 1999, "Probabilistic Outputs for Support Vector
Machines", with his targets): what a second number would bring.

    python -m benchmarks.own_films artifacts/reports/reference
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from pneumonia.data.manifest import parse_name
from pneumonia.errors import DataError
from pneumonia.evaluation.metrics import accuracy, ece, sensitivity, specificity
from pneumonia.evaluation.operating_point import fit_offset
from pneumonia.evaluation.thresholds import fit_threshold
from pneumonia.evaluation.weighted import Floats
from pneumonia.files import write_json

FIGURES = ("accuracy", "sensitivity", "specificity", "ece")

_SLOPE_TOO = "ece_slope_too"

Labels = NDArray[np.int64]


def read_predictions(path: Path) -> tuple[Labels, Floats, NDArray[np.str_]]:
    """Labels (n,), probabilities of PNEUMONIA (n,) and patients (n,) of a `predictions.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([row["label"] == "PNEUMONIA" for row in rows], dtype=np.int64)
    patients = np.array([parse_name(Path(row["path"]).name)[0] for row in rows])
    return labels, np.array([float(row["probability"]) for row in rows]), patients


def fit_slope_too(labels: Labels, log_odds: Floats) -> tuple[float, float]:
    """(slope, offset) of log-odds (n,) that are likeliest for Platt's targets of the labels (n,)."""
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(fitted: Floats) -> float:
        odds = fitted[0] * log_odds + fitted[1]
        return float((np.logaddexp(0, odds) - targets * odds).mean())

    slope, offset = minimize(loss, [1.0, fit_offset(labels, log_odds)], method="BFGS").x
    return float(slope), float(offset)


def draw(labels: Labels, patients: NDArray[np.str_], films: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which films (n,) are those of patients drawn one by one until there are `films` of them, of both classes."""
    drawn = np.zeros(len(labels), dtype=np.bool_)
    for patient in rng.permutation(np.unique(patients)):
        if drawn.sum() >= films and len(set(labels[drawn])) > 1:
            break
        drawn |= patients == patient
    return drawn


def measure(
    labels: Labels,
    probabilities: Floats,
    patients: NDArray[np.str_],
    rules: Sequence[str],
    films: int,
    repeats: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row a rule: the mean of each figure over `repeats` draws, and between what 95 of 100 draws are.

    Raises `DataError` where so many films are asked for that those left would be none, or of one class.
    """
    rng = np.random.default_rng(seed)
    log_odds = logit(np.clip(probabilities, np.finfo(float).tiny, 1 - np.finfo(float).epsneg))
    drawn: list[list[tuple[float, ...]]] = [[] for _ in rules]
    for _ in range(repeats):
        own = draw(labels, patients, films, rng)
        if len(set(labels[~own])) < 2:
            raise DataError(f"Of {len(labels)} films, {films} leave no others of both classes; ask for fewer.")
        moved = expit(log_odds + fit_offset(labels[own], log_odds[own]))
        slope, offset = fit_slope_too(labels[own], log_odds[own])
        other = ece(labels[~own], expit(slope * log_odds + offset)[~own])
        for row, rule in zip(drawn, rules, strict=True):
            threshold = fit_threshold(labels[own], moved[own], rule)
            row.append((*_figures(labels[~own], moved[~own], threshold), other))
    return [{"rule": rule, "films": films, **_summary(row)} for rule, row in zip(rules, drawn, strict=True)]


def _summary(draws: list[tuple[float, ...]]) -> dict[str, dict[str, float]]:
    values = np.array(draws)
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return {
        name: {"value": float(mean), "low": float(least), "high": float(most)}
        for name, mean, least, most in zip((*FIGURES, _SLOPE_TOO), values.mean(axis=0), low, high, strict=True)
    }


def _figures(labels: Labels, probabilities: Floats, threshold: float) -> tuple[float, ...]:
    decided = (metric(labels, probabilities, threshold) for metric in (accuracy, sensitivity, specificity))
    return (*decided, ece(labels, probabilities))


def table(report: dict[str, Any]) -> str:
    """Markdown: the bundle as it is, then a row for each rule and number of films."""
    head = ["fitted on", "rule", "accuracy", "sensitivity", "specificity", "ECE", "ECE, slope too"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    shipped = " | ".join(f"{report['shipped'][name]:.3f}" for name in FIGURES)
    lines.append(f"| patients held out of train | as shipped | {shipped} | |")
    for row in report["rows"]:
        cells = [
            f"{row[name]['value']:.3f} ({row[name]['low']:.3f}-{row[name]['high']:.3f})"
            for name in (*FIGURES, _SLOPE_TOO)
        ]
        lines.append(f"| {row['films']} films | `{row['rule']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write everything as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `pneumonia evaluate --output` named")
    parser.add_argument("--films", type=int, nargs="+", default=[25, 50, 100, 150])
    parser.add_argument("--rules", nargs="+", default=["youden", "sensitivity>=0.95", "sensitivity>=0.97"])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--output", type=Path, help="a JSON file")
    settings = parser.parse_args()
    labels, probabilities, patients = read_predictions(settings.folder / "predictions.csv")
    evaluated = json.loads((settings.folder / "report.json").read_text(encoding="utf-8"))
    measured = [
        measure(labels, probabilities, patients, settings.rules, films, settings.repeats) for films in settings.films
    ]
    report = {
        "bundle": f"{evaluated['model']['name']}:{evaluated['model']['version']}",
        "split": evaluated["split"],
        "n": len(labels),
        "repeats": settings.repeats,
        "shipped": dict(zip(FIGURES, _figures(labels, probabilities, evaluated["threshold"]), strict=True)),
        "rows": [row for of_one_rule in zip(*measured, strict=True) for row in of_one_rule],
    }
    print(table(report))
    if settings.output is not None:
        write_json(settings.output, report)


if __name__ == "__main__":
    main()
