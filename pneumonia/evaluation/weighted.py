"""Metrics of many weightings of the same films at once: the one implementation behind plain figures and the bootstrap.

A weighting is a row of non-negative numbers, one a film: all ones is the plain sample, and counts of how often each
film was drawn are a resample. Sorting happens once for all rows, so that thousands of resamples take about a second.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import DataError

Floats = NDArray[np.float64]

# Guo et al. (2017), "On Calibration of Modern Neural Networks", section 5: 15 bins of equal width.
BINS = 15


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Labels (n,) and probabilities (n,) as arrays.

    Raises `DataError` when they are not of one length, a label is neither 0 nor 1, or a probability is not in [0, 1].
    """
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape:
        raise DataError(
            f"Labels have the shape {truth.shape} and probabilities {scores.shape}; give one of each for every film."
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError("Labels must be 0 (NORMAL) or 1 (PNEUMONIA); map other classes to these two first.")
    outside = ~((scores >= 0) & (scores <= 1))  # true for NaN as well
    if outside.any():
        raise DataError(
            f"{outside.sum()} of {len(scores)} probabilities are not numbers in [0, 1], the first at index "
            f"{outside.argmax()}; give calibrated probabilities of PNEUMONIA, not logits."
        )
    return truth.astype(np.int64), scores


def cumulative_counts(
    labels: NDArray[np.int64], probabilities: Floats, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """What lies at or above each distinct score.

    `weights` is (r, n). Returns the m distinct scores, falling, and the weights of true and of false positives when
    each score is the threshold, both (r, m). Equal scores are one step: no order among them is invented.
    """
    order = np.argsort(-probabilities, kind="stable")
    scores, truth, ordered = probabilities[order], labels[order], weights[:, order]
    ends = np.flatnonzero(np.diff(scores, append=-1.0))
    true_positives = np.cumsum(ordered * truth, axis=1)[:, ends]
    false_positives = np.cumsum(ordered * (1 - truth), axis=1)[:, ends]
    return scores[ends], true_positives, false_positives


def rank_metrics(labels: NDArray[np.int64], probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    """`auroc` and `average_precision`, (r,) each, of the weightings (r, n)."""
    _, true_positives, false_positives = cumulative_counts(labels, probabilities, weights)
    positives, negatives = weights @ labels, weights @ (1 - labels)
    new_true = np.diff(true_positives, axis=1, prepend=0.0)
    new_false = np.diff(false_positives, axis=1, prepend=0.0)
    # Each negative wins against no positive above it, and half against one of the same score (midranks).
    ordered_pairs = (new_false * (true_positives - new_true / 2)).sum(axis=1)
    precision = ratio(true_positives, true_positives + false_positives)
    return {
        "auroc": ratio(ordered_pairs, positives * negatives),
        "average_precision": ratio(np.nansum(new_true * precision, axis=1), positives),
    }


def threshold_metrics(
    labels: NDArray[np.int64], probabilities: Floats, threshold: float, weights: Floats
) -> dict[str, Floats]:
    """`accuracy`, `sensitivity`, `specificity`, `ppv`, `npv` and `f1`, (r,) each, of the weightings (r, n)."""
    tn, fp, fn, tp = confusion_weights(labels, probabilities, threshold, weights)
    return {
        "accuracy": ratio(tp + tn, tn + fp + fn + tp),
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


def confusion_weights(
    labels: NDArray[np.int64], probabilities: Floats, threshold: float, weights: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """(tn, fp, fn, tp), (r,) each. A film is called positive when its probability is at least the threshold."""
    called = (probabilities >= threshold).astype(np.int64)
    cells = [(1 - labels) * (1 - called), (1 - labels) * called, labels * (1 - called), labels * called]
    tn, fp, fn, tp = (weights @ np.stack(cells, axis=1).astype(np.float64)).T
    return tn, fp, fn, tp


def probability_metrics(labels: NDArray[np.int64], probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    """`ece`, `brier` and `log_loss`, (r,) each, of the weightings (r, n)."""
    # A probability of exactly 0 or 1 that is wrong costs 36 nats, not infinitely many.
    tiny = float(np.finfo(np.float64).eps)
    given_to_truth = np.clip(np.where(labels == 1, probabilities, 1 - probabilities), tiny, 1.0)
    residual = labels - probabilities
    in_bin = bin_index(probabilities)[:, None] == np.arange(BINS)
    total = weights.sum(axis=1)
    # |bin| / n * |mean label - mean probability| is |sum of residuals| / n: the size of the bin cancels.
    gaps = np.abs(weights @ (in_bin * residual[:, None]))
    return {
        "ece": ratio(gaps.sum(axis=1), total),
        "brier": ratio(weights @ residual**2, total),
        "log_loss": ratio(weights @ -np.log(given_to_truth), total),
    }


def weighted_metrics(
    labels: NDArray[np.int64], probabilities: Floats, threshold: float, weights: Floats
) -> dict[str, Floats]:
    """Every metric of the package, (r,) each, of the weightings (r, n); NaN where it is undefined."""
    ranks = rank_metrics(labels, probabilities, weights)
    return {
        "auroc": ranks["auroc"],
        **threshold_metrics(labels, probabilities, threshold, weights),
        **probability_metrics(labels, probabilities, weights),
        "average_precision": ranks["average_precision"],
    }


def bin_index(probabilities: Floats) -> NDArray[np.int64]:
    """Which of the `BINS` bins (lower, upper] each probability falls in; 0 belongs to the first."""
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(inner_edges, probabilities, side="left").astype(np.int64)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is zero: a share of nothing is undefined, not 0."""
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
