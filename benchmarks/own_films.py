"""What a site gains by fitting the operating point on its own films, and how many films that takes.

Reads the folder that `pneumonia evaluate` wrote. Patients are drawn until there are as many films as asked for; the
offset of the log-odds and the threshold are fitted on them, and the figures are those of the other patients' films;
again and again. Nothing of it enters a bundle: it tells the place of a threshold from what a network can't tell apart.

    python -m benchmarks.own_films artifacts/reports/reference
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from pneumonia.data.manifest import parse_name
from pneumonia.errors import DataError
from pneumonia.evaluation.metrics import accuracy, ece, sensitivity, specificity
from pneumonia.evaluation.thresholds import fit_threshold
from pneumonia.evaluation.weighted import Floats
from pneumonia.files import write_json

FIGURES = ("accuracy", "sensitivity", "specificity", "ece")

# Log-odds by which an offset may move a film: beyond it, all films are of one class.
_FARTHEST = 60.0

Labels = NDArray[np.int64]


def read_predictions(path: Path) -> tuple[Labels, Floats, NDArray[np.str_]]:
    """Labels (n,), probabilities of PNEUMONIA (n,) and patients (n,) of a `predictions.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([row["label"] == "PNEUMONIA" for row in rows], dtype=np.int64)
    patients = np.array([parse_name(Path(row["path"]).name)[0] for row in rows])
    return labels, np.array([float(row["probability"]) for row in rows]), patients


def fit_offset(labels: Labels, log_odds: Floats) -> float:
    """What has to be added to log-odds (n,) so that their probabilities sum to the number of PNEUMONIA films.

    That is the likeliest offset: the slope of the log-likelihood is the difference of the two.
    """
    return float(brentq(lambda offset: expit(log_odds + offset).mean() - labels.mean(), -_FARTHEST, _FARTHEST))


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
    rule: str,
    films: int,
    repeats: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean of each figure over `repeats` draws, and between what 95 of 100 draws are.

    Raises `DataError` where so many films are asked for that those left would be none, or of one class.
    """
    rng = np.random.default_rng(seed)
    log_odds = logit(np.clip(probabilities, np.finfo(float).tiny, 1 - np.finfo(float).epsneg))
    rows = []
    for _ in range(repeats):
        own = draw(labels, patients, films, rng)
        if len(set(labels[~own])) < 2:
            raise DataError(f"Of {len(labels)} films, {films} leave no others of both classes; ask for fewer.")
        moved = expit(log_odds + fit_offset(labels[own], log_odds[own]))
        rows.append(_figures(labels[~own], moved[~own], fit_threshold(labels[own], moved[own], rule)))
    values = np.array(rows)
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return {
        name: {"value": float(mean), "low": float(least), "high": float(most)}
        for name, mean, least, most in zip(FIGURES, values.mean(axis=0), low, high, strict=True)
    }


def _figures(labels: Labels, probabilities: Floats, threshold: float) -> tuple[float, ...]:
    decided = (metric(labels, probabilities, threshold) for metric in (accuracy, sensitivity, specificity))
    return (*decided, ece(labels, probabilities))


def table(report: dict[str, Any]) -> str:
    """Markdown: the bundle as it is, then a row for each rule and number of films."""
    lines = ["| fitted on | rule | accuracy | sensitivity | specificity | ECE |", "|" + " --- |" * 6]
    shipped = " | ".join(f"{report['shipped'][name]:.3f}" for name in FIGURES)
    lines.append(f"| patients held out of train | as shipped | {shipped} |")
    for row in report["rows"]:
        cells = (f"{row[name]['value']:.3f} ({row[name]['low']:.3f}-{row[name]['high']:.3f})" for name in FIGURES)
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
    report = {
        "bundle": f"{evaluated['model']['name']}:{evaluated['model']['version']}",
        "split": evaluated["split"],
        "n": len(labels),
        "repeats": settings.repeats,
        "shipped": dict(zip(FIGURES, _figures(labels, probabilities, evaluated["threshold"]), strict=True)),
        "rows": [
            {"rule": rule, "films": films} | measure(labels, probabilities, patients, rule, films, settings.repeats)
            for rule in settings.rules
            for films in settings.films
        ],
    }
    print(table(report))
    if settings.output is not None:
        write_json(settings.output, report)


if __name__ == "__main__":
    main()
