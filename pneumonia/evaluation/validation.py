"""What a bundle records of the films that its operating point was fitted on: its answers, and the figures of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pneumonia.data.manifest import Row, class_indices
from pneumonia.evaluation.conformal import cross_coverage
from pneumonia.evaluation.held_out import HeldOut, collect_held_out
from pneumonia.evaluation.intervals import bootstrap_intervals
from pneumonia.evaluation.operating_point import OperatingPoint, calibrated_probabilities, positive_probability


def validation_answers(logits: ArrayLike, rows: Sequence[Row], point: OperatingPoint) -> HeldOut:
    """What an operating point makes of logits (n, k) of the films of n rows."""
    return collect_held_out(
        [row.label == "PNEUMONIA" for row in rows],
        positive_probability(logits, point.temperature, point.offset),
        [row.patient for row in rows],
        [row.sha256 for row in rows],
    )


def validation_figures(
    logits: ArrayLike, rows: Sequence[Row], point: OperatingPoint, classes: Sequence[str]
) -> dict[str, Any]:
    """`n`, and every metric of these films with its interval.

    `cross_coverage` is what sets calibrated on one half of these patients cover of each class in the other half.
    """
    patients = [row.patient for row in rows]
    intervals = bootstrap_intervals(
        np.array([row.label == "PNEUMONIA" for row in rows], dtype=np.int64),
        positive_probability(logits, point.temperature, point.offset),
        point.threshold,
        patients,
    )
    covered = cross_coverage(
        calibrated_probabilities(logits, point.temperature, point.offset),
        class_indices(rows, classes),
        patients,
        point.coverage,
    )
    return {
        "n": len(rows),
        **{name: interval.as_json() for name, interval in intervals.items()},
        "cross_coverage": {
            name: None if np.isnan(share) else share for name, share in zip(classes, covered, strict=True)
        },
    }
