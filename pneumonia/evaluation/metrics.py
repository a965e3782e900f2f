"""Metrics of a classifier of two classes: pure functions of labels and probabilities.

`labels` are (n,), 0 for NORMAL and 1 for PNEUMONIA; `probabilities` (n,), the calibrated probability of PNEUMONIA in
[0, 1]; a film is called PNEUMONIA when its probability is at least `threshold`. What is undefined (a sensitivity
without positives) is NaN. Every function raises `DataError` for arrays that are not of this form.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pneumonia.evaluation.weighted import (
    Floats,
    checked,
    confusion_weights,
    probability_metrics,
    rank_metrics,
    threshold_metrics,
    weighted_metrics,
)

METRICS = (
    "auroc",
    "accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "ece",
    "brier",
    "log_loss",
    "average_precision",
)


class Confusion(NamedTuple):
    """Counts of films: true negatives, false positives, false negatives, true positives."""

    tn: int
    fp: int
    fn: int
    tp: int


def compute_metrics(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> dict[str, float]:
    """Every metric by its name, in the order of `METRICS`.

    >>> figures = compute_metrics([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], threshold=0.5)
    >>> figures["auroc"], figures["sensitivity"], figures["specificity"]
    (0.75, 0.5, 0.5)
    """
    truth, scores = checked(labels, probabilities)
    values = weighted_metrics(truth, scores, threshold, _plain(len(truth)))
    return {name: float(values[name][0]) for name in METRICS}


def auroc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the ROC curve: how often a PNEUMONIA film scores above a NORMAL one, a tie counting half.

    Hanley and McNeil (1982), Radiology 143:29-36. NaN unless both classes occur.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return _rank("auroc", labels, probabilities)


def average_precision(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation. NaN without positives.

    Davis and Goadrich (2006) on why the precision-recall curve must not be interpolated linearly.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return _rank("average_precision", labels, probabilities)


def confusion(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> Confusion:
    """Counts of the four outcomes.

    >>> confusion([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], threshold=0.5)
    Confusion(tn=1, fp=1, fn=0, tp=2)
    """
    truth, scores = checked(labels, probabilities)
    cells = confusion_weights(truth, scores, threshold, _plain(len(truth)))
    return Confusion(*(int(cell[0]) for cell in cells))


def accuracy(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Share of films called what they are.

    >>> accuracy([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], threshold=0.5)
    0.75
    """
    return _at_threshold("accuracy", labels, probabilities, threshold)


def sensitivity(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Share of PNEUMONIA films called PNEUMONIA (recall). NaN without positives.

    >>> sensitivity([0, 1, 1], [0.9, 0.2, 0.8], threshold=0.5)
    0.5
    """
    return _at_threshold("sensitivity", labels, probabilities, threshold)


def specificity(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Share of NORMAL films called NORMAL. NaN without negatives.

    >>> specificity([0, 0, 1], [0.9, 0.2, 0.8], threshold=0.5)
    0.5
    """
    return _at_threshold("specificity", labels, probabilities, threshold)


def ppv(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Positive predictive value: share of films called PNEUMONIA that are (precision). NaN when none is called so.

    It depends on how common PNEUMONIA is among the films.

    >>> ppv([0, 1, 1], [0.9, 0.2, 0.8], threshold=0.5)
    0.5
    """
    return _at_threshold("ppv", labels, probabilities, threshold)


def npv(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Negative predictive value: share of films called NORMAL that are. NaN when none is called so.

    It depends on how common PNEUMONIA is among the films.

    >>> npv([0, 0, 1], [0.1, 0.2, 0.3], threshold=0.25)
    1.0
    """
    return _at_threshold("npv", labels, probabilities, threshold)


def f1(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Harmonic mean of sensitivity and positive predictive value. NaN when no film is or is called PNEUMONIA.

    >>> f1([0, 1, 1], [0.9, 0.2, 0.8], threshold=0.5)
    0.5
    """
    return _at_threshold("f1", labels, probabilities, threshold)


def ece(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Expected calibration error of the probability of PNEUMONIA: the mean gap between said and seen, in [0, 1].

    Sum over bins of |bin| / n * |share of PNEUMONIA - mean probability|, with the 15 bins (lower, upper] of equal
    width of Guo et al. (2017), section 2, applied to the probability of the positive class rather than of the
    predicted one, so that over- and underdiagnosis do not cancel. Measured on few films it is biased upward (Kumar et
    al. 2019). NaN without films.

    >>> round(ece([0, 1, 1, 1], [0.75, 0.75, 0.75, 0.95]), 4)
    0.075
    """
    return _of_probabilities("ece", labels, probabilities)


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared difference of probability and label, in [0, 1] (Brier 1950). NaN without films.

    >>> brier([0, 1], [0.5, 1.0])
    0.125
    """
    return _of_probabilities("brier", labels, probabilities)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log-likelihood of the labels, in nats; probabilities are kept 2.2e-16 off 0. NaN without films.

    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    return _of_probabilities("log_loss", labels, probabilities)


def _plain(n: int) -> Floats:
    return np.ones((1, n))


def _rank(name: str, labels: ArrayLike, probabilities: ArrayLike) -> float:
    truth, scores = checked(labels, probabilities)
    return float(rank_metrics(truth, scores, _plain(len(truth)))[name][0])


def _at_threshold(name: str, labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    truth, scores = checked(labels, probabilities)
    return float(threshold_metrics(truth, scores, threshold, _plain(len(truth)))[name][0])


def _of_probabilities(name: str, labels: ArrayLike, probabilities: ArrayLike) -> float:
    truth, scores = checked(labels, probabilities)
    return float(probability_metrics(truth, scores, _plain(len(truth)))[name][0])
