"""What refitting an operating point on some films is worth, by patients on whom it was not fitted.

The figures of films on which three numbers were fitted flatter them, the more the fewer the films. Here the patients
are dealt into folds; each fold is decided by what was fitted on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import DataError
from pneumonia.evaluation.intervals import bootstrap_intervals, bootstrap_share
from pneumonia.evaluation.operating_point import OperatingPoint, decide, refit_operating_point
from pneumonia.evaluation.weighted import Floats

FOLDS = 10


@dataclass(frozen=True, eq=False)
class Decided:
    """Of n films and k classes: `probabilities` (n,) of PNEUMONIA, 1 where `called` so (n,), and the `sets` (n, k)."""

    probabilities: Floats
    called: NDArray[np.int64]
    sets: NDArray[np.bool_]


def decide_all(logits: ArrayLike, point: OperatingPoint) -> Decided:
    """What one operating point makes of logits (n, k)."""
    decisions = decide(logits, point)
    kinds = range(np.shape(logits)[1])
    return Decided(
        np.array([decision.probability for decision in decisions]),
        np.array([decision.class_index > 0 for decision in decisions], dtype=np.int64),
        np.array([[kind in decision.prediction_set for kind in kinds] for decision in decisions]),
    )


def cross_fit(
    logits: ArrayLike, classes: ArrayLike, patients: Sequence[str], point: OperatingPoint, seed: int = 0
) -> Decided:
    """Each patient's films decided by what was refitted on those of the other folds: of logits (n, k).

    `classes` (n,) in 0..k-1. Temperature, rule and coverage are the point's. Raises `DataError` unless there are ten
    patients of every class, and what `refit_operating_point` raises.
    """
    rows, truth = np.asarray(logits, dtype=np.float64), np.asarray(classes, dtype=np.int64)
    folds = _deal(truth, patients, rows.shape[1], seed)
    decided = Decided(np.empty(len(truth)), np.empty(len(truth), dtype=np.int64), np.empty(rows.shape, dtype=np.bool_))
    for fold in range(FOLDS):
        own = folds == fold
        refitted = refit_operating_point(rows[~own], truth[~own], point.temperature, point.rule, point.coverage)
        of_fold = decide_all(rows[own], refitted)
        for column in ("probabilities", "called", "sets"):
            getattr(decided, column)[own] = getattr(of_fold, column)
    return decided


def decided_figures(
    decided: Decided, classes: ArrayLike, names: Sequence[str], patients: Sequence[str]
) -> dict[str, Any]:
    """`accuracy`, `sensitivity`, `specificity`, `ece` and `covered`, the coverage of each class, for strict JSON.

    `classes` (n,) are indices into `names`. Each figure is `{"value", "low", "high"}`, by bootstrap over patients.
    """
    truth, of_film = np.asarray(classes, dtype=np.int64), np.asarray(patients, dtype=str)
    labels = (truth > 0).astype(np.int64)

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, float | None]:
        return bootstrap_share(hits[of], of_film[of].tolist()).as_json()

    right = decided.called == labels
    ece = bootstrap_intervals(labels, decided.probabilities, 0.5, patients)["ece"]
    return {
        "accuracy": share(right, labels >= 0),
        "sensitivity": share(right, labels == 1),
        "specificity": share(right, labels == 0),
        "ece": ece.as_json(),
        "covered": {name: share(decided.sets[:, index], truth == index) for index, name in enumerate(names)},
    }


def _deal(truth: NDArray[np.int64], patients: Sequence[str], kinds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film: those of a patient are in one, and patients of every class are spread evenly."""
    names, patient_of_film = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    class_of_patient = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(class_of_patient, patient_of_film, truth)
    generator = np.random.default_rng(seed)
    fold_of_patient = np.empty(len(names), dtype=np.int64)
    for kind in range(kinds):
        members = np.flatnonzero(class_of_patient == kind)
        if len(members) < FOLDS:
            raise DataError(
                f"Films of {len(members)} patients of class {kind} are too few to try on some what was fitted on the "
                f"others; label those of {FOLDS} or more."
            )
        fold_of_patient[generator.permutation(members)] = np.arange(len(members)) % FOLDS
    return fold_of_patient[patient_of_film]
