"""The curves behind the figures: receiver operating characteristic, precision-recall, and reliability bins."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.evaluation.weighted import BINS, Floats, bin_index, checked, cumulative_counts, ratio


class RocCurve(NamedTuple):
    """Points of the ROC curve by falling threshold, (m + 1,) each for m distinct scores; the first is (0, 0)."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall by falling threshold, (m,) each for m distinct scores."""

    precision: Floats
    recall: Floats
    thresholds: Floats


class Reliability(NamedTuple):
    """What was said and what was seen in each bin of probability, (15,) each; NaN for the means of an empty bin."""

    lower: Floats
    upper: Floats
    films: NDArray[np.int64]
    mean_probability: Floats
    share_positive: Floats


def roc_curve(labels: ArrayLike, probabilities: ArrayLike) -> RocCurve:
    """Sensitivity against 1 - specificity at every threshold that makes a difference.

    A rate is NaN when its class does not occur. The first threshold is infinite: nothing is called positive.

    >>> curve = roc_curve([0, 1, 1], [0.2, 0.2, 0.9])
    >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
    ([0.0, 0.0, 1.0], [0.0, 0.5, 1.0])
    """
    truth, scores = checked(labels, probabilities)
    thresholds, true_positives, false_positives = cumulative_counts(truth, scores, np.ones((1, len(truth))))
    rates = []
    for counts, total in ((false_positives[0], (truth == 0).sum()), (true_positives[0], (truth == 1).sum())):
        counts = np.concatenate([[0.0], counts])
        rates.append(ratio(counts, np.full(counts.shape, float(total))))
    return RocCurve(rates[0], rates[1], np.concatenate([[np.inf], thresholds]))


def precision_recall_curve(labels: ArrayLike, probabilities: ArrayLike) -> PrecisionRecallCurve:
    """Positive predictive value against sensitivity at every threshold that makes a difference; recall rises.

    Recall is NaN without positives. The made-up point (recall 0, precision 1) is left out.

    >>> curve = precision_recall_curve([0, 1, 1], [0.2, 0.4, 0.9])
    >>> curve.recall.tolist(), curve.precision.round(3).tolist()
    ([0.5, 1.0, 1.0], [1.0, 1.0, 0.667])
    """
    truth, scores = checked(labels, probabilities)
    thresholds, true_positives, false_positives = cumulative_counts(truth, scores, np.ones((1, len(truth))))
    called = true_positives[0] + false_positives[0]
    positives = np.full(called.shape, float(truth.sum()))
    return PrecisionRecallCurve(ratio(true_positives[0], called), ratio(true_positives[0], positives), thresholds)


def reliability_bins(labels: ArrayLike, probabilities: ArrayLike) -> Reliability:
    """Films by their probability, in the bins that `ece` uses.

    >>> bins = reliability_bins([0, 1, 1], [0.95, 0.97, 0.99])
    >>> int(bins.films[-1]), round(float(bins.mean_probability[-1]), 2), round(float(bins.share_positive[-1]), 2)
    (3, 0.97, 0.67)
    """
    truth, scores = checked(labels, probabilities)
    index = bin_index(scores)
    films = np.bincount(index, minlength=BINS).astype(np.int64)
    edges = np.linspace(0, 1, BINS + 1)

    def mean_in_bins(values: Floats) -> Floats:
        sums = np.bincount(index, weights=values, minlength=BINS).astype(np.float64)
        return ratio(sums, films.astype(np.float64))

    return Reliability(edges[:-1], edges[1:], films, mean_in_bins(scores), mean_in_bins(truth.astype(np.float64)))
