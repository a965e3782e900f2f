"""What was answered beyond one probability a film: its class of several, its prediction set, its input check."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumonia.data.manifest import Row, class_indices
from pneumonia.evaluation.intervals import LEVEL, RESAMPLES, bootstrap_share
from pneumonia.evaluation.weighted import Floats
from pneumonia.inference.prediction import Prediction

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """Of n films and k classes.

    `classes` are their names; `truth` (n,) the index of each film's class, -1 where its name tells none; `called` (n,)
    what it was called; `probabilities` (n, k), calibrated; `sets` (n, k) which classes belong to its prediction set, at
    the asked `coverage`; `passed` (n,) the input check; `abstained` (n,).
    """

    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    called: NDArray[np.int64]
    probabilities: Floats
    sets: Flags
    coverage: float
    passed: Flags
    abstained: Flags


def collect_answers(rows: Sequence[Row], predictions: Sequence[Prediction], classes: Sequence[str]) -> Answers:
    """The answers of one bundle to the films of these rows, in their order; at least one."""
    return Answers(
        classes=tuple(classes),
        truth=np.array(class_indices(rows, classes), dtype=np.int64),
        called=np.array([prediction.class_index for prediction in predictions], dtype=np.int64),
        probabilities=np.array([list(prediction.probabilities.values()) for prediction in predictions]),
        sets=np.array([[name in prediction.prediction_set for name in classes] for prediction in predictions]),
        coverage=predictions[0].coverage,
        passed=np.array([prediction.input_check.passed for prediction in predictions]),
        abstained=np.array([prediction.abstained for prediction in predictions]),
    )


def answer_figures(
    answers: Answers, patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Any]:
    """The parts of a report on answers, ready for strict JSON; shares are `{"value", "low", "high"}`.

    `prediction_sets`: `coverage` asked, `covered` for each class the share of its films whose set holds it,
    `decided` the share of all films whose set holds NORMAL alone or kinds of pneumonia alone, as they are called,
    `undecided` (both, or the other one alone) and `empty`, and `accuracy_decided`, of the label among the decided
    films. `input_check`: `refused`, and its `count`.
    `classes`, with three classes or more and when every film's is known: `names`, `accuracy`, `recall` of each, and
    `confusion_matrix`, rows what films are and columns what they were called.
    """

    def share(hits: Flags, of: Flags | None = None) -> dict[str, float | None]:
        chosen = np.ones(len(hits), dtype=np.bool_) if of is None else of
        names = np.asarray(patients, dtype=str)[chosen].tolist()
        return bootstrap_share(hits[chosen], names, resamples, seed, level).as_json()

    normal, kinds = answers.sets[:, 0], answers.sets[:, 1:].any(axis=1)
    decided = (normal != kinds) & (kinds == (answers.called > 0))
    empty = ~normal & ~kinds
    known = answers.truth >= 0
    right = (answers.called > 0) == (answers.truth != 0)
    figures: dict[str, Any] = {
        "prediction_sets": {
            "coverage": answers.coverage,
            "covered": {
                name: share(answers.sets[:, index], answers.truth == index)
                for index, name in enumerate(answers.classes)
            },
            "decided": share(decided),
            "undecided": share(~decided & ~empty),
            "empty": share(empty),
            "accuracy_decided": share(right, decided),
        },
        "input_check": {"refused": share(~answers.passed), "count": int((~answers.passed).sum())},
    }
    if len(answers.classes) > 2 and known.all():
        matrix = np.zeros((len(answers.classes),) * 2, dtype=np.int64)
        np.add.at(matrix, (answers.truth, answers.called), 1)
        hits = answers.called == answers.truth
        figures["classes"] = {
            "names": list(answers.classes),
            "accuracy": share(hits),
            "recall": {name: share(hits, answers.truth == index) for index, name in enumerate(answers.classes)},
            "confusion_matrix": matrix.tolist(),
        }
    return figures
