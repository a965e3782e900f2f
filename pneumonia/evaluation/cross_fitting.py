"""What refitting an operating point on some films is worth, by patients on whom it was not fitted.

The figures of films on which three numbers were fitted flatter them, the more the fewer the films. Here the patients
are dealt into folds; each fold is decided by what was fitted on the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import DataError
from pneumonia.evaluation.conformal import in_percent
from pneumonia.evaluation.intervals import bootstrap_intervals, bootstrap_share
from pneumonia.evaluation.operating_point import OperatingPoint, decide, refit_operating_point
from pneumonia.evaluation.weighted import Floats

FOLDS = 10
# Dealt once: the same films give the same figures.
_SEED = 0


@dataclass(frozen=True, eq=False)
class Decided:
    """Of n films and k classes: `probabilities` (n,) of PNEUMONIA, 1 where `called` so (n,), and the `sets` (n, k).

    `decided` (n,) is whether a film's set holds what it is called, and nothing of the other side.
    """

    probabilities: Floats
    called: NDArray[np.int64]
    sets: NDArray[np.bool_]
    decided: NDArray[np.bool_]


def decide_all(logits: ArrayLike, point: OperatingPoint) -> Decided:
    """What one operating point makes of logits (n, k)."""
    decisions = decide(logits, point)
    kinds = range(np.shape(logits)[1])
    return Decided(
        np.array([decision.probability for decision in decisions]),
        np.array([decision.class_index > 0 for decision in decisions], dtype=np.int64),
        np.array([[kind in decision.prediction_set for kind in kinds] for decision in decisions]),
        np.array([decision.decided for decision in decisions]),
    )


def check_enough(classes: ArrayLike, patients: Sequence[str], names: Sequence[str], coverage: float) -> None:
    """Raise `DataError` unless every fold leaves enough films of each class to calibrate prediction sets on.

    `classes` (n,) are indices into `names`. With fewer a class would belong to every set
    (`pneumonia.evaluation.conformal`).
    """
    truth = np.asarray(classes, dtype=np.int64)
    folds, needed = _deal(truth, patients), math.ceil(1 / (1 - coverage) - 1e-9) - 1
    for index, name in enumerate(names):
        own = truth == index
        people = len(set(np.asarray(patients, dtype=str)[own].tolist()))
        left = min(int((own & (folds != fold)).sum()) for fold in range(FOLDS))
        if people < FOLDS or left < needed:
            raise DataError(
                f"{own.sum()} films of {people} patients are {name}, of which {left} are left when a tenth of the "
                f"patients is put aside: {needed} of {FOLDS} patients or more are needed for prediction sets at a "
                f"coverage of {in_percent(coverage)}. Label more films, or ask for less with --coverage."
            )


def cross_fit(logits: ArrayLike, classes: ArrayLike, patients: Sequence[str], point: OperatingPoint) -> Decided:
    """Each patient's films decided by what was refitted on those of the other folds: of logits (n, k).

    `classes` (n,) in 0..k-1. Temperature, rule and coverage are the point's. Raises what `refit_operating_point`
    raises, which it does not for films that are enough by `check_enough`.
    """
    rows, truth = np.asarray(logits, dtype=np.float64), np.asarray(classes, dtype=np.int64)
    folds, order, parts = _deal(truth, patients), [], []
    for fold in range(FOLDS):
        own = folds == fold
        refitted = refit_operating_point(rows[~own], truth[~own], point.temperature, point.rule, point.coverage)
        order.append(np.flatnonzero(own))
        parts.append(decide_all(rows[own], refitted))
    back = np.argsort(np.concatenate(order))
    columns = ("probabilities", "called", "sets", "decided")
    return Decided(*(np.concatenate([getattr(part, column) for part in parts])[back] for column in columns))


def decided_figures(
    decided: Decided, classes: ArrayLike, names: Sequence[str], patients: Sequence[str]
) -> dict[str, Any]:
    """`accuracy`, `sensitivity`, `specificity`, `ece`, `decided` and `covered` (of each class), for strict JSON.

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
        "decided": share(decided.decided, labels >= 0),
        "covered": {name: share(decided.sets[:, index], truth == index) for index, name in enumerate(names)},
    }


def _deal(truth: NDArray[np.int64], patients: Sequence[str]) -> NDArray[np.int64]:
    """The fold of each film, (n,): those of a patient are in one, and patients of the same classes spread evenly."""
    names, patient_of_film = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    classes_of = [frozenset(truth[patient_of_film == patient].tolist()) for patient in range(len(names))]
    generator = np.random.default_rng(_SEED)
    fold_of_patient, dealt = np.empty(len(names), dtype=np.int64), 0
    for kinds in sorted(set(classes_of), key=sorted):
        members = generator.permutation([patient for patient, own in enumerate(classes_of) if own == kinds])
        fold_of_patient[members] = (dealt + np.arange(len(members))) % FOLDS
        dealt += len(members)
    return fold_of_patient[patient_of_film]
