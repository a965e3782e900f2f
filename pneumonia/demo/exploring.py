"""What another operating point would have meant: pure functions of a bundle's answers for its held-out films."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pneumonia.evaluation.intervals import wilson_limits


@dataclass(frozen=True)
class Share:
    """`value` in [0, 1] of `n` films, with its 95% interval; value, low and high are NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Point:
    """What one threshold decides of the held-out films."""

    threshold: float
    sensitivity: Share
    specificity: Share


@dataclass(frozen=True)
class Predictive:
    """PPV and NPV where `prevalence` of those who are examined have pneumonia; NaN where nobody is called so."""

    prevalence: float
    ppv: float
    npv: float


@dataclass(frozen=True)
class People:
    """The confusion matrix as people; the four sum up to those who were asked for."""

    found: int
    missed: int
    false_alarms: int
    cleared: int


def point_at(labels: Sequence[int], probabilities: Sequence[float], threshold: float) -> Point:
    """Sensitivity and specificity of n films at a threshold in [0, 1]; labels (n,) are 1 for pneumonia.

    A film is called pneumonia at the threshold or above, as the server does.
    """
    called = {0: 0, 1: 0}
    total = {0: 0, 1: 0}
    for label, probability in zip(labels, probabilities, strict=True):
        total[label] += 1
        called[label] += probability >= threshold
    return Point(threshold, wilson(called[1], total[1]), wilson(total[0] - called[0], total[0]))


def predictive(point: Point, prevalence: float) -> Predictive:
    """By Bayes' rule, from sensitivity, specificity and a prevalence in [0, 1].

    >>> answer = predictive(Point(0.5, wilson(90, 100), wilson(80, 100)), 0.1)
    >>> round(answer.ppv, 3), round(answer.npv, 3)
    (0.333, 0.986)
    """
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    called, right = prevalence * sensitivity + (1 - prevalence) * (1 - specificity), prevalence * sensitivity
    cleared, well = prevalence * (1 - sensitivity) + (1 - prevalence) * specificity, (1 - prevalence) * specificity
    return Predictive(prevalence, right / called if called else math.nan, well / cleared if cleared else math.nan)


def of_people(point: Point, prevalence: float, people: int = 1000) -> People:
    """The confusion matrix of so many people, rounded so that the sick and the well are as many as there are.

    >>> of_people(Point(0.5, wilson(90, 100), wilson(80, 100)), 0.1)
    People(found=90, missed=10, false_alarms=180, cleared=720)
    """
    sick = round(people * prevalence)
    found, cleared = (
        0 if math.isnan(share.value) else round(count * share.value)
        for share, count in ((point.sensitivity, sick), (point.specificity, people - sick))
    )
    return People(found, sick - found, people - sick - cleared, cleared)


def wilson(successes: int, n: int) -> Share:
    """A share of n films with its 95% limits, as `wilson_limits` has them.

    >>> share = wilson(9, 10)
    >>> share.value, round(share.low, 3), round(share.high, 3)
    (0.9, 0.596, 0.982)
    """
    if n == 0:
        return Share(math.nan, math.nan, math.nan, 0)
    low, high = wilson_limits(np.array([successes / n]), np.array([n]))
    return Share(successes / n, float(low[0]), float(high[0]), n)
