"""Confidence intervals of the metrics: a bootstrap that resamples patients, since films of one patient are alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.metrics import compute_metrics
from pneumonia.evaluation.weighted import Floats, checked, weighted_metrics

RESAMPLES = 2000
LEVEL = 0.95

# Weights in memory at once: 16 MB of them, and a few arrays of that size beside.
_WEIGHTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence limits; NaN for what is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "undefined"
        if np.isnan(self.low):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"

    def as_json(self) -> dict[str, float | None]:
        """`value`, `low` and `high`, with None (JSON's null) for NaN."""
        pairs = (("value", self.value), ("low", self.low), ("high", self.high))
        return {name: None if np.isnan(number) else float(number) for name, number in pairs}


def bootstrap_intervals(
    labels: ArrayLike,
    probabilities: ArrayLike,
    threshold: float,
    patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Every metric of `compute_metrics` with its percentile bootstrap interval.

    `labels` (n,), `probabilities` (n,) in [0, 1], `patients` (n,). As many patients as there are, with all their
    films, are drawn with replacement, without strata (Efron and Tibshirani 1993, chapter 13; clusters: Field and
    Welsh 2007). A resample in which a metric is undefined is left out of that metric's interval. An interval is
    widened to its value where it would leave it out: that happens to `ece`, which resampling biases upward. With one
    patient only there is nothing to resample, and the limits are NaN. A share that is exactly 0 or 1 gets an interval
    of no width, whatever n.

    The same arguments give the same intervals. Raises `DataError` for arrays that don't fit each other, `ConfigError`
    for fewer than one resample or a level outside (0, 1).

    >>> figures = bootstrap_intervals([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8], 0.5, ["a", "b", "c", "d"])
    >>> print(figures["specificity"])
    1.000 (1.000-1.000)
    """
    _check(resamples, level)
    truth, scores = checked(labels, probabilities)
    if len(patients) != len(truth):
        raise DataError(f"{len(patients)} patients for {len(truth)} films; give the patient of every film.")
    values = compute_metrics(truth, scores, threshold)
    names, patient_of_film = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        return {name: Interval(value, np.nan, np.nan) for name, value in values.items()}
    draws: dict[str, list[Floats]] = {name: [] for name in values}
    generator = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // len(truth))
    for start in range(0, resamples, at_once):
        counts = _patient_counts(generator, min(at_once, resamples - start), len(names))
        for name, drawn in weighted_metrics(truth, scores, threshold, counts[:, patient_of_film]).items():
            draws[name].append(drawn)
    return {name: _percentile(value, np.concatenate(draws[name]), level) for name, value in values.items()}


def bootstrap_share(
    hits: NDArray[np.bool_],
    patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The share of films (n,) that are hits, with its interval by the same bootstrap; undefined without films.

    Raises `ConfigError` for fewer than one resample or a level outside (0, 1).

    >>> print(bootstrap_share(np.array([True, True, True, False]), ["a", "b", "c", "d"]))
    0.750 (0.250-1.000)
    """
    _check(resamples, level)
    if not len(hits):
        return Interval(np.nan, np.nan, np.nan)
    names, patient_of_film = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        return Interval(float(np.mean(hits)), np.nan, np.nan)
    counts = _patient_counts(np.random.default_rng(seed), resamples, len(names))
    films, hit = np.bincount(patient_of_film), np.bincount(patient_of_film, weights=hits)
    return _percentile(float(np.mean(hits)), (counts @ hit) / (counts @ films), level)


def wilson_limits(share: Floats, films: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """95% limits of a share seen among so many films (Wilson 1927); they stay in [0, 1] and hold for few films.

    >>> low, high = wilson_limits(np.array([1.0]), np.array([10]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.722, 1.0)
    """
    z = NormalDist().inv_cdf(0.975)
    center = (share + z**2 / (2 * films)) / (1 + z**2 / films)
    reach = z * np.sqrt(share * (1 - share) / films + z**2 / (4 * films**2)) / (1 + z**2 / films)
    return np.minimum(center - reach, share), np.maximum(center + reach, share)


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"{resamples} resamples at the level {level}: give at least 1, and a level between 0 and 1.")


def _patient_counts(generator: np.random.Generator, resamples: int, patients: int) -> Floats:
    """How often each patient is drawn in each resample: (resamples, patients), every row summing to `patients`."""
    drawn = generator.integers(0, patients, size=(resamples, patients))
    drawn += np.arange(resamples)[:, None] * patients
    counts = np.bincount(drawn.ravel(), minlength=resamples * patients)
    return counts.reshape(resamples, patients).astype(np.float64)


def _percentile(value: float, draws: Floats, level: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(defined):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))
