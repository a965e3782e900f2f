"""Two classifiers on the same films: DeLong's test of their AUROCs, McNemar's of their decisions.

Both take films as independent. Films of one patient are alike, so that the tests are a little too sure of a difference.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import DataError
from pneumonia.evaluation.weighted import Floats, checked


@dataclass(frozen=True)
class PairedAuroc:
    """AUROC of a candidate and of the present one on n films.

    `difference` is the candidate's minus the other's, `standard_error` DeLong's; `p_worse` the probability of a
    difference this far down or further if there were none (one-sided).
    """

    n: int
    candidate: float
    present: float
    standard_error: float
    p_worse: float

    @property
    def difference(self) -> float:
        """Above 0 where the candidate's is higher."""
        return self.candidate - self.present


@dataclass(frozen=True)
class PairedDecisions:
    """Of n films, how many only the candidate (`gained`) and only the present one (`lost`) called what they are.

    `p_worse` is the probability of so many losses or more among them, if each were as likely a gain (one-sided).
    """

    n: int
    gained: int
    lost: int
    p_worse: float


def compare_aurocs(labels: ArrayLike, candidate: ArrayLike, present: ArrayLike) -> PairedAuroc:
    """DeLong's test for two classifiers of the same films: labels (n,) 0 or 1, and two (n,) of probabilities.

    DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44:837-845, by the midranks of Sun and Xu (2014), IEEE Signal
    Processing Letters 21:1389-1393. Raises `DataError` unless both labels occur, each on two films or more.

    >>> labels, good, bad = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.8, 0.9], [0.1, 0.7, 0.6, 0.5, 0.4, 0.9]
    >>> paired = compare_aurocs(labels, bad, good)
    >>> round(paired.candidate, 3), round(paired.present, 3), round(paired.p_worse, 3)
    (0.556, 0.889, 0.11)
    """
    truth, first = checked(labels, candidate)
    _, second = checked(labels, present)
    positive = truth == 1
    if min(positive.sum(), (~positive).sum()) < 2:
        raise DataError(
            f"{positive.sum()} PNEUMONIA and {(~positive).sum()} NORMAL films: a comparison needs two of each or more."
        )
    of_positives, of_negatives = zip(_placements(first, positive), _placements(second, positive), strict=True)
    areas = np.mean(of_positives, axis=1)
    covariance = np.cov(of_positives) / positive.sum() + np.cov(of_negatives) / (~positive).sum()
    variance = max(float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]), 0.0)
    error = math.sqrt(variance)
    difference = float(areas[0] - areas[1])
    return PairedAuroc(len(truth), float(areas[0]), float(areas[1]), error, _lower_tail(difference, error))


def compare_decisions(labels: ArrayLike, candidate: ArrayLike, present: ArrayLike) -> PairedDecisions:
    """McNemar's exact test: labels (n,) 0 or 1, and what the one and the other called each film, (n,) 0 or 1.

    McNemar (1947), Psychometrika 12:153-157, with the binomial distribution in place of its approximation.

    >>> compare_decisions([1, 1, 1, 1, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 0])
    PairedDecisions(n=5, gained=0, lost=3, p_worse=0.125)
    """
    truth, first, second = (np.asarray(column) for column in (labels, candidate, present))
    if not truth.shape == first.shape == second.shape:
        raise DataError(f"{len(first)} and {len(second)} decisions for {len(truth)} films; give one for every film.")
    gained = int(((first == truth) & (second != truth)).sum())
    lost = int(((first != truth) & (second == truth)).sum())
    return count_decisions(len(truth), gained, lost)


def count_decisions(n: int, gained: int, lost: int) -> PairedDecisions:
    """The same test of counts.

    >>> count_decisions(50, 4, 0).p_worse
    1.0
    """
    changed = gained + lost
    tail = sum(math.comb(changed, count) for count in range(lost, changed + 1))
    return PairedDecisions(n, gained, lost, tail / 2**changed)


def _placements(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, and for each negative the share of positives above it.

    A tie counts half (Sun and Xu 2014, equations 4 and 5).
    """
    among_all, among_positives, among_negatives = map(_midranks, (scores, scores[positive], scores[~positive]))
    below = (among_all[positive] - among_positives) / (~positive).sum()
    above = 1 - (among_all[~positive] - among_negatives) / positive.sum()
    return below, above


def _midranks(scores: Floats) -> Floats:
    """Ranks from 1, equal scores having the mean of theirs."""
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[where]
    return ranks


def _lower_tail(difference: float, error: float) -> float:
    """Of the normal distribution. Without any spread two equal areas do not differ, and others do."""
    if error == 0:
        return 1.0 if difference >= 0 else 0.0
    return 0.5 * math.erfc(-difference / error / math.sqrt(2))
