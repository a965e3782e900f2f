"""What a tracker draws of held-out answers: curve points, and the films that are worth a look; arrays in, rows out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pneumonia.evaluation.curves import precision_recall_curve, roc_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A chart on a screen shows no more, and W&B draws at most 10,000 rows.
_POINTS = 400


def roc_points(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> list[tuple[float, float]]:
    """(1 - specificity, sensitivity) by falling threshold, at most 400; none when a class does not occur.

    >>> roc_points(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    [(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)]
    """
    if len(np.unique(labels)) < 2:
        return []
    curve = roc_curve(labels, probabilities)
    return _thinned(curve.false_positive_rate, curve.true_positive_rate)


def precision_recall_points(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]"
) -> list[tuple[float, float]]:
    """(recall, precision) by falling threshold, at most 400; none when a class does not occur.

    >>> precision_recall_points(np.array([0, 1, 1]), np.array([0.2, 0.4, 0.9]))[0]
    (0.5, 1.0)
    """
    if len(np.unique(labels)) < 2:
        return []
    curve = precision_recall_curve(labels, probabilities)
    return _thinned(curve.recall, curve.precision)


def telling_samples(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", count: int) -> list[int]:
    """Indices of films to look at: half of them the most wrong, then the least certain; `labels` are 0 or 1.

    >>> telling_samples(np.array([0, 1, 1]), np.array([0.1, 0.05, 0.6]), 2)
    [1, 2]
    """
    error = np.abs(labels - probabilities)
    wrong = np.argsort(-error, kind="stable")[: (count + 1) // 2]
    unsure = [index for index in np.argsort(np.abs(probabilities - 0.5), kind="stable") if index not in wrong]
    return [int(index) for index in [*wrong, *unsure][:count]]


def _thinned(x: "NDArray[np.float64]", y: "NDArray[np.float64]") -> list[tuple[float, float]]:
    kept: Sequence[int] = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int)).tolist()
    return [(float(x[index]), float(y[index])) for index in kept]
