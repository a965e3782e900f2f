"""Conformal prediction sets: which classes a film may be, with a coverage that holds for each class on its own.

Class-conditional split conformal prediction (Vovk 2012; Sadinle, Lei and Wasserman 2019) with 1 - P(class) as the
score: a class belongs to a film's set when its probability is at least the class's threshold. If films come as those of
the calibration came, the set of a film of class k holds k with the probability `coverage` or a little more, for each k.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.weighted import Floats

# Between even odds, below which a set says nothing, and certainty, which a finite calibration can't give.
MIN_COVERAGE, MAX_COVERAGE = 0.5, 0.999

_HALVINGS = 100


def fit_set_thresholds(probabilities: ArrayLike, classes: ArrayLike, coverage: float) -> tuple[float, ...]:
    """The threshold of each class, (k,), from calibrated probabilities (n, k) and classes (n,) of held-out films.

    Of the n_k films of class k it is the probability of k that ranks floor((n_k + 1)(1 - coverage)) from below, 0 where
    that rank is 0: then the class belongs to every set, which is all that so few films allow.

    Raises `ConfigError` for a coverage outside [0.5, 0.999], `DataError` when a class has no film.

    >>> fit_set_thresholds([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], [0, 0, 1, 1], coverage=0.5)
    (0.6, 0.7)
    """
    check_coverage(coverage)
    scores, truth = _checked(probabilities, classes)
    return tuple(_threshold(np.sort(scores[truth == k, k]), coverage, k) for k in range(scores.shape[1]))


def prediction_sets(probabilities: ArrayLike, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """(n, k): which classes belong to the set of each film. A set may hold all classes, or none.

    >>> prediction_sets([[0.95, 0.05], [0.5, 0.5]], (0.4, 0.3)).tolist()
    [[True, False], [True, True]]
    """
    within: NDArray[np.bool_] = np.asarray(probabilities, dtype=np.float64) >= np.asarray(thresholds)
    return within


def cross_coverage(
    probabilities: ArrayLike, classes: ArrayLike, patients: Sequence[str], coverage: float, seed: int = 0
) -> list[float]:
    """The coverage of each class, (k,), that calibrating on one half of the patients gives on the other.

    The mean over 100 random halvings: what the films that calibrate can say about coverage without being judged by
    themselves; NaN where they are too few. Raises what `fit_set_thresholds` raises, and `DataError` unless there is one
    patient a film.
    """
    scores, truth = _checked(probabilities, classes)
    fit_set_thresholds(scores, truth, coverage)
    if len(patients) != len(truth):
        raise DataError(f"{len(patients)} patients for {len(truth)} films; give one for every film.")
    _, patient_of_film = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    generator = np.random.default_rng(seed)
    covered: list[list[float]] = [[] for _ in range(scores.shape[1])]
    for _ in range(_HALVINGS):
        calibrating = (generator.random(patient_of_film.max() + 1) < 0.5)[patient_of_film]
        if len(np.unique(truth[calibrating])) < scores.shape[1]:
            continue
        sets = prediction_sets(
            scores[~calibrating], fit_set_thresholds(scores[calibrating], truth[calibrating], coverage)
        )
        for k, shares in enumerate(covered):
            of_class = truth[~calibrating] == k
            if of_class.any():
                shares.append(float(sets[of_class, k].mean()))
    return [float(np.mean(shares)) if shares else float("nan") for shares in covered]


def in_percent(coverage: float) -> str:
    """With all its digits: rounded, 99.9% would be certainty.

    >>> in_percent(0.95), in_percent(0.999)
    ('95%', '99.9%')
    """
    return f"{100 * coverage:.10g}%"


def check_coverage(coverage: float) -> None:
    """Raise `ConfigError` unless the coverage is one that can be asked for."""
    if not MIN_COVERAGE <= coverage <= MAX_COVERAGE:
        raise ConfigError(f"The coverage {coverage} is not between {MIN_COVERAGE} and {MAX_COVERAGE}; 0.95 is usual.")


def _threshold(scores: Floats, coverage: float, k: int) -> float:
    if not len(scores):
        raise DataError(f"No film of class {k} to calibrate prediction sets on; hold out more patients.")
    # Rounding must not turn 0.05 * 20 into 0.99.
    rank = int(np.floor((len(scores) + 1) * (1 - coverage) + 1e-9))
    return float(scores[rank - 1]) if rank else 0.0


def _checked(probabilities: ArrayLike, classes: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    scores, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(classes, dtype=np.int64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise DataError(f"Probabilities {scores.shape} and classes {truth.shape}; (n, k) and (n,) are expected.")
    if not np.isin(truth, range(scores.shape[1])).all() or not ((scores >= 0) & (scores <= 1)).all():
        raise DataError(f"Give probabilities in [0, 1], and classes in 0..{scores.shape[1] - 1}.")
    return scores, truth
