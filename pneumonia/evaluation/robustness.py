"""Robustness of a bundle: its figures under graded corruptions, and at full size against the size of train's films."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumonia.bundle import Bundle
from pneumonia.data.manifest import Manifest
from pneumonia.evaluation.corruptions import CORRUPTIONS, GRADES, MIDDLE_GRADE, Corruption
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import RESAMPLES, bootstrap_intervals
from pneumonia.evaluation.robustness_views import (
    LEAST_FULL_SIDE,
    SHRUNKEN_QUALITY,
    SHRUNKEN_SIDE,
    FilmViews,
    view_film,
)
from pneumonia.evaluation.weighted import Floats
from pneumonia.images import DEFAULT_LIMITS, Limits
from pneumonia.parallel import map_films

FIGURES = ("auroc", "sensitivity", "specificity", "ece")

# A film at the limit of an upload grows by a black border, by at most 1 / 0.75 squared, and is measured all the same.
_LIMITS = Limits(2 * DEFAULT_LIMITS.max_bytes, 2 * DEFAULT_LIMITS.max_pixels)


def measure_robustness(
    bundle: Bundle, manifest: Manifest, inputs: EvaluationInput, resamples: int = RESAMPLES, progress: bool = False
) -> dict[str, Any]:
    """Classify every film of an evaluation again under each corruption and grade, and shrunken where it is large.

    Each film is read at its own size, changed there, stored without loss and read again as an upload is. Its seed is
    taken from its SHA-256: the same film is changed in the same way in every split and order. As many films are in
    memory at once as there are cores. `manifest` is the one that `inputs` come from.

    Returns what `robustness_figures` does. Raises `DataError` naming a film that can't be decoded.
    """
    from pneumonia.inference.predictor import Predictor

    rows = {row.path: row for row in manifest.rows}
    # Films side by side, one core each: faster than one film on all cores, and engines take calls from threads.
    predictor = Predictor(bundle, threads=1, limits=_LIMITS, engine=inputs.engine)
    views = map_films(
        lambda path: view_film(predictor, manifest.root, rows[path]), inputs.paths, "robustness" if progress else None
    )
    return robustness_figures(inputs, views, resamples)


def robustness_figures(
    inputs: EvaluationInput, views: Sequence[FilmViews], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The `robustness` of a report, ready for strict JSON: None stands for what is undefined.

    `plain` has `auroc`, `sensitivity`, `specificity` and `ece` of the films as they are, each `{"value", "low",
    "high"}`, and `turned_away`: how many the input check does not let pass; they count in the figures all the same.
    `corruptions` maps a name to `description`, `unit` and `grades`: for each grade `grade`, `amount`, the four figures,
    `turned_away` and `drop` (plain AUROC minus this one). `worst` is the corruption with the lowest AUROC at the middle
    grade; None where AUROC is undefined. `full_size` compares large films with their shrunken copies.

    `views` has one entry for each film of `inputs`. Raises what `bootstrap_intervals` raises.
    """
    everything = np.ones(len(inputs.labels), dtype=np.bool_)
    plain = _figures(inputs, inputs.probabilities, everything, resamples)
    corruptions = {}
    for index, corruption in enumerate(CORRUPTIONS.values()):
        grades = []
        for grade in GRADES:
            seen = np.array([view.probabilities[index, grade - 1] for view in views])
            figures = _figures(inputs, seen, everything, resamples)
            turned_away = sum(bool(view.turned_away[index, grade - 1]) for view in views)
            grades.append(_grade(corruption, grade, figures, plain) | {"turned_away": turned_away})
        corruptions[corruption.name] = {
            "description": corruption.description,
            "unit": corruption.unit,
            "grades": grades,
        }
    return {
        "middle_grade": MIDDLE_GRADE,
        "resamples": resamples,
        "plain": plain | {"turned_away": sum(view.plain_turned_away for view in views)},
        "corruptions": corruptions,
        "worst": _worst(corruptions),
        "full_size": _full_size(inputs, np.array([view.shrunken for view in views]), resamples),
    }


def summary(robustness: dict[str, Any]) -> dict[str, Any]:
    """What a bundle keeps: `middle_grade`, `plain`, `worst`, and `middle`, each corruption's figures at that grade."""
    at_middle = {
        name: corruption["grades"][robustness["middle_grade"] - 1]
        for name, corruption in robustness["corruptions"].items()
    }
    kept = {key: robustness[key] for key in ("middle_grade", "plain", "worst")}
    return {**kept, "middle": {name: {key: cell[key] for key in FIGURES} for name, cell in at_middle.items()}}


def headline(robustness: dict[str, Any]) -> str:
    """The worst view in one line."""
    worst, grade = robustness["worst"], robustness["middle_grade"]
    if worst is None:
        return "robustness: AUROC is undefined, as all films are of one class"
    return (
        f"robustness: worst at grade {grade} is {worst['corruption']} ({worst['amount']:g} {worst['unit']}): AUROC "
        f"{worst['auroc']:.4f}, plain {robustness['plain']['auroc']['value']:.4f}, drop {worst['drop']:.4f}"
    )


def _figures(
    inputs: EvaluationInput, probabilities: Floats, rows: NDArray[np.bool_], resamples: int
) -> dict[str, dict[str, float | None]]:
    """The four figures of some films with their intervals; the seed is the report's, so plain figures are the same."""
    labels, patients = np.asarray(inputs.labels), np.asarray(inputs.patients, dtype=str)
    intervals = bootstrap_intervals(
        labels[rows], np.asarray(probabilities)[rows], inputs.threshold, patients[rows].tolist(), resamples
    )
    return {name: intervals[name].as_json() for name in FIGURES}


def _grade(
    corruption: Corruption, grade: int, figures: dict[str, Any], plain: dict[str, dict[str, float | None]]
) -> dict[str, Any]:
    before, after = plain["auroc"]["value"], figures["auroc"]["value"]
    drop = None if before is None or after is None else before - after
    return {"grade": grade, "amount": float(corruption.amounts[grade - 1]), **figures, "drop": drop}


def _worst(corruptions: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    at_middle = [
        {
            "corruption": name,
            "amount": (cell := corruption["grades"][MIDDLE_GRADE - 1])["amount"],
            "unit": corruption["unit"],
            "auroc": cell["auroc"]["value"],
            "drop": cell["drop"],
        }
        for name, corruption in corruptions.items()
    ]
    return min((cell for cell in at_middle if cell["auroc"] is not None), key=lambda cell: cell["auroc"], default=None)


def _full_size(inputs: EvaluationInput, shrunken: Floats, resamples: int) -> dict[str, Any]:
    """What shrinking does to films that are large enough; differences of probability are absolute."""
    rows = ~np.isnan(shrunken)
    full, small = np.asarray(inputs.probabilities)[rows], shrunken[rows]
    difference = np.abs(full - small)
    some = bool(rows.any())
    return {
        "least_side": LEAST_FULL_SIDE,
        "shrunken_side": SHRUNKEN_SIDE,
        "jpeg_quality": SHRUNKEN_QUALITY,
        "n": int(rows.sum()),
        "positives": int(np.asarray(inputs.labels)[rows].sum()),
        "largest_difference": float(difference.max()) if some else None,
        "mean_difference": float(difference.mean()) if some else None,
        "changed_decisions": int(((full >= inputs.threshold) != (small >= inputs.threshold)).sum()) if some else None,
        "full": _figures(inputs, inputs.probabilities, rows, resamples) if some else None,
        "shrunken": _figures(inputs, shrunken, rows, resamples) if some else None,
    }
