"""What a bundle records of the films that its operating point was fitted on: its answers, and the figures of them."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from pneumonia.data.manifest import Row
from pneumonia.evaluation.held_out import HeldOut, collect_held_out
from pneumonia.evaluation.intervals import bootstrap_intervals
from pneumonia.evaluation.operating_point import OperatingPoint, positive_probability


def validation_answers(logits: ArrayLike, rows: Sequence[Row], point: OperatingPoint) -> HeldOut:
    """What an operating point makes of logits (n, k) of the films of n rows."""
    return collect_held_out(
        [row.label == "PNEUMONIA" for row in rows],
        positive_probability(logits, point.temperature, point.offset),
        [row.patient for row in rows],
        [row.sha256 for row in rows],
    )


def validation_figures(logits: ArrayLike, rows: Sequence[Row], point: OperatingPoint) -> dict[str, Any]:
    """`n`, and every metric of these films with its interval."""
    intervals = bootstrap_intervals(
        [row.label == "PNEUMONIA" for row in rows],
        positive_probability(logits, point.temperature, point.offset),
        point.threshold,
        [row.patient for row in rows],
    )
    return {"n": len(rows), **{name: interval.as_json() for name, interval in intervals.items()}}
