"""The operating point: what turns a network's logits into a probability and a decision, fitted on validation data."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.conformal import check_coverage, fit_set_thresholds, prediction_sets
from pneumonia.evaluation.thresholds import fit_threshold
from pneumonia.evaluation.weighted import Floats

DEFAULT_RULE = "youden"
DEFAULT_COVERAGE = 0.95

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

# Halvings of log(1 / temperature) or of an offset: intervals are 6 to some hundreds wide, so that these many reach the
# precision of a float.
_HALVINGS = 64
# Log-odds at which a probability is 0 or 1 to the precision of a float.
_CERTAIN = 40.0


@dataclass(frozen=True)
class OperatingPoint:
    """What turns logits into a decision, and by what rules it was fitted.

    `temperature` divides the logits; `offset` is then added to the log-odds of PNEUMONIA: 0 but for a bundle that was
    recalibrated (`pneumonia.recalibration`). A film is called PNEUMONIA when its probability is at least `threshold`,
    which `rule` chose. A class belongs to a film's prediction set when its probability is at least its
    `set_thresholds`, which hold the `coverage` (see `pneumonia.evaluation.conformal`).

    Raises `ConfigError` for a temperature that is not positive, an offset that is not finite, or thresholds or a
    coverage outside their ranges.
    """

    temperature: float
    threshold: float
    rule: str
    coverage: float
    set_thresholds: tuple[float, ...]
    offset: float = 0.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        if not math.isfinite(self.offset):
            raise ConfigError(f"The offset {self.offset} is not a finite number; fit it with `fit_offset`.")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"The threshold {self.threshold} is not in [0, 1]; fit it with `fit_threshold`.")
        check_coverage(self.coverage)
        object.__setattr__(self, "set_thresholds", tuple(map(float, self.set_thresholds)))  # JSON gives a list
        if len(self.set_thresholds) < 2 or not all(0 <= threshold <= 1 for threshold in self.set_thresholds):
            raise ConfigError(f"The set thresholds {self.set_thresholds} are not one number in [0, 1] for each class.")


def fit_operating_point(
    logits: ArrayLike,
    classes: ArrayLike,
    rule: str = DEFAULT_RULE,
    coverage: float = DEFAULT_COVERAGE,
    plain: int | None = None,
) -> OperatingPoint:
    """Fit the temperature, then on the calibrated probabilities the threshold and those of the prediction sets.

    `logits` (n, k) and `classes` (n,) in 0..k-1 of films that no training saw; class 0 is NORMAL, every other one a
    kind of PNEUMONIA. Where the first `plain` of them are films as they are and the others augmented, the sets are
    calibrated on the first alone: they promise a share of films as they come.

    Raises what `fit_temperature`, `fit_threshold` and `fit_set_thresholds` raise.
    """
    return _fit_thresholds(logits, classes, fit_temperature(logits, classes), 0.0, rule, coverage, plain)


def refit_operating_point(
    logits: ArrayLike, classes: ArrayLike, temperature: float, rule: str, coverage: float
) -> OperatingPoint:
    """Keep a temperature and fit the offset, the threshold and those of the sets on films from elsewhere.

    `logits` (n, k) and `classes` (n,) as `fit_operating_point` takes them. Of all that could be fitted the offset is
    what few films can tell ("recalibration in the large": Steyerberg et al. 2004, Statistics in Medicine 23:2567-2586).

    Raises what `fit_offset`, `fit_threshold` and `fit_set_thresholds` raise.
    """
    offset = fit_offset(_labels(classes), log_odds(logits, temperature))
    return _fit_thresholds(logits, classes, temperature, offset, rule, coverage)


def _fit_thresholds(
    logits: ArrayLike,
    classes: ArrayLike,
    temperature: float,
    offset: float,
    rule: str,
    coverage: float,
    plain: int | None = None,
) -> OperatingPoint:
    threshold = fit_threshold(_labels(classes), positive_probability(logits, temperature, offset), rule)
    probabilities = calibrated_probabilities(logits, temperature, offset)
    set_thresholds = fit_set_thresholds(probabilities[:plain], np.asarray(classes)[:plain], coverage)
    return OperatingPoint(temperature, threshold, rule, coverage, set_thresholds, offset)


def _labels(classes: ArrayLike) -> NDArray[np.int64]:
    return (np.asarray(classes) > 0).astype(np.int64)


@dataclass(frozen=True)
class Decision:
    """What an operating point makes of one film's logits.

    `class_index` is what it is called; `probability` that of PNEUMONIA, `probabilities` of each class;
    `prediction_set` the indices of the classes that it may be.
    """

    class_index: int
    probability: float
    probabilities: tuple[float, ...]
    prediction_set: tuple[int, ...]

    @property
    def decided(self) -> bool:
        """Whether the set holds NORMAL alone, or kinds of PNEUMONIA alone, and it is called so.

        Threshold and sets are fitted by rules of their own: between their limits a film is called the one while the
        set holds the other alone.
        """
        sides = {index > 0 for index in self.prediction_set}
        return sides == {self.class_index > 0}


def decide(logits: ArrayLike, point: OperatingPoint) -> list[Decision]:
    """One decision a row of logits (n, k); of several kinds of pneumonia the likeliest is named.

    Raises what `calibrated_probabilities` raises.

    >>> point = OperatingPoint(1.0, 0.5, "youden", 0.95, (0.3, 0.3))
    >>> decide([[0.0, 0.5]], point)[0].decided
    False
    """
    of_classes = calibrated_probabilities(logits, point.temperature, point.offset)
    positive = positive_probability(logits, point.temperature, point.offset)
    kinds = 1 + of_classes[:, 1:].argmax(axis=1)
    sets = prediction_sets(of_classes, point.set_thresholds)
    return [
        Decision(
            class_index=int(kind) if probability >= point.threshold else 0,
            probability=float(probability),
            probabilities=tuple(map(float, row)),
            prediction_set=tuple(map(int, np.flatnonzero(within))),
        )
        for kind, probability, row, within in zip(kinds, positive, of_classes, sets, strict=True)
    ]


def calibrated_probabilities(logits: ArrayLike, temperature: float, offset: float = 0.0) -> Floats:
    """Softmax of logits (n, k) divided by the temperature: (n, k), rows summing to 1; no logit overflows it.

    `offset` is added to the log-odds of PNEUMONIA, and leaves the odds among its kinds as they are. Guo et al. (2017),
    "On Calibration of Modern Neural Networks", section 4.2. Raises `ConfigError` for a temperature that is not
    positive, `DataError` for logits of another shape or that are not finite.

    >>> calibrated_probabilities([[0.0, 2.0]], temperature=2.0).round(3).tolist()
    [[0.269, 0.731]]
    """
    _check_temperature(temperature)
    return _softmax(_checked_logits(logits) / temperature + offset * _positive(logits))


def positive_probability(logits: ArrayLike, temperature: float, offset: float = 0.0) -> Floats:
    """Probability of PNEUMONIA, (n,): 1 - P(class 0) of logits (n, k), summed so that small ones keep their digits.

    Raises what `calibrated_probabilities` raises.

    >>> positive_probability([[0.0, -100.0]], temperature=1.0).tolist()
    [3.720075976020836e-44]
    """
    positive: Floats = calibrated_probabilities(logits, temperature, offset)[:, 1:].sum(axis=1)
    return positive.clip(max=1.0)  # a sum of several kinds may round to more


def log_odds(logits: ArrayLike, temperature: float, offset: float = 0.0) -> Floats:
    """Of that probability, (n,): log(p / (1 - p)), which does not saturate. Raises what `fit_temperature` raises.

    >>> log_odds([[0.0, 100.0]], temperature=2.0).tolist()
    [50.0]
    """
    _check_temperature(temperature)
    scores = _checked_logits(logits) / temperature
    odds: Floats = np.logaddexp.reduce(scores[:, 1:], axis=1) - scores[:, 0] + offset
    return odds


def fit_offset(labels: ArrayLike, odds: ArrayLike) -> float:
    """The offset that minimises the negative log-likelihood of labels (n,) 0 or 1 when added to log-odds (n,).

    With it the probabilities sum to the number of PNEUMONIA films: the slope of the log-likelihood is the difference of
    the two, and falls from above 0 to below it. Raises `DataError` for columns of other forms, or unless both labels
    occur.

    >>> round(fit_offset([0, 1, 1, 1], [2.0, 2.0, 2.0, 2.0]), 6)  # from 2 to log(3)
    -0.901388
    """
    truth, values = np.asarray(labels), np.asarray(odds, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape or not np.isfinite(values).all():
        raise DataError(f"Labels {truth.shape} and log-odds {values.shape}: give a label and a finite number a film.")
    if set(truth.tolist()) != {0, 1}:
        raise DataError(f"An offset is fitted on films of both labels; these {len(truth)} are not.")
    # At these ends every film is surely of one class.
    low, high = -values.max() - _CERTAIN, -values.min() + _CERTAIN
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(values + middle).sum() < truth.sum() else (low, middle)
    return float(low + high) / 2


def fit_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """The temperature that minimises the negative log-likelihood of `classes` (n,) given `logits` (n, k).

    Guo et al. (2017), section 4.2. In b = 1 / temperature the likelihood is convex, so that its slope has one root,
    found by bisection in [0.05, 20]. At a bound the network's logits are separated without an error, or tell nothing;
    logits that are equal in every row leave the temperature at 1.

    Raises `DataError` for logits or classes of another form, or without films.
    """
    scores, truth = _checked_logits(logits), np.asarray(classes)
    films, kinds = scores.shape
    if truth.shape != (films,) or not films or not np.isin(truth, range(kinds)).all():
        raise DataError(
            f"{films} rows of {kinds} logits and classes of shape {truth.shape}: give one class in 0..{kinds - 1} for "
            "every row, and at least one row."
        )
    scores = scores - scores.max(axis=1, keepdims=True)
    of_truth = scores[np.arange(films), truth.astype(np.int64)]

    def slope(log_inverse: float) -> float:
        expected = (_softmax(scores * math.exp(log_inverse)) * scores).sum(axis=1)
        return float(np.mean(expected - of_truth))

    low, high = -math.log(MAX_TEMPERATURE), -math.log(MIN_TEMPERATURE)
    if not scores.any():
        return 1.0
    if slope(low) >= 0:
        return MAX_TEMPERATURE
    if slope(high) <= 0:
        return MIN_TEMPERATURE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def _positive(logits: ArrayLike) -> Floats:
    """1 for each kind of pneumonia, 0 for NORMAL, (k,)."""
    return np.append(0.0, np.ones(np.shape(logits)[1] - 1))


def _sigmoid(odds: Floats) -> Floats:
    share: Floats = np.exp(-np.logaddexp(0.0, -odds))
    return share


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _checked_logits(logits: ArrayLike) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(f"Logits have the shape {values.shape}; (films, classes) with at least 2 classes is expected.")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{(~finite).sum()} of {len(values)} rows of logits are not finite, the first at index "
            f"{(~finite).argmax()}; the network diverged or its graph is damaged."
        )
    return values


def _check_temperature(temperature: float) -> None:
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"The temperature {temperature} is not a positive number; fit it with `fit_temperature`.")
