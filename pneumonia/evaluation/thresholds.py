"""Rules that choose the threshold of a decision, by name: what to make best, on which validation films."""

import re

import numpy as np
from numpy.typing import ArrayLike

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.weighted import Floats, checked, cumulative_counts

RULES = (
    "youden (largest sensitivity + specificity - 1), accuracy, sensitivity>=X and specificity>=X (the other one as "
    "large as possible, 0 < X <= 1), cost=X (a missed pneumonia costs X times a false alarm, X > 0)"
)

_RULE = re.compile(r"(youden|accuracy)|(sensitivity|specificity)\s*>=\s*(\d*\.?\d+)|(cost)\s*=\s*(\d*\.?\d+)")


def parse_rule(rule: str) -> tuple[str, float]:
    """(name, number) of a rule's text; the number is 0 for a rule without one. Raises `ConfigError` naming the rules.

    >>> parse_rule("sensitivity>=0.95")
    ('sensitivity', 0.95)
    """
    if match := _RULE.fullmatch(rule.strip()):
        name = match[1] or match[2] or match[4]
        number = float(match[3] or match[5] or 0)
        if match[1] or 0 < number <= (1 if match[2] else float("inf")):
            return name, number
    raise ConfigError(f"{rule!r} is no rule for the threshold; the rules are: {RULES}.")


def fit_threshold(labels: ArrayLike, probabilities: ArrayLike, rule: str) -> float:
    """The threshold in [0, 1] that is best by `rule` for labels (n,) 0 or 1 and probabilities (n,).

    Candidates lie halfway between adjacent scores, and between the outermost scores and 0 and 1, so that no film of
    another day that scores like one of these sits on the edge. Among equally good candidates it is the one nearest
    to the middle of their range.

    The rules: `youden` (Youden 1950, Cancer 3:32-35) has the largest sensitivity + specificity - 1; `accuracy` the
    most films right; `sensitivity>=X` the largest specificity whose sensitivity is at least X, `specificity>=X` the
    reverse, and among equals the larger of the one that is bounded; `cost=X` the least cost when a missed pneumonia
    costs X and a false alarm 1, at the prevalence of these films.

    Raises `ConfigError` for an unknown rule, `DataError` unless both classes occur or when no threshold meets the
    bound.

    >>> fit_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], "youden")
    0.4
    """
    name, number = parse_rule(rule)
    truth, scores = checked(labels, probabilities)
    if not 0 < truth.sum() < len(truth):
        raise DataError(
            f"A threshold is fitted on films of both classes; of these {len(truth)}, {truth.sum()} are PNEUMONIA."
        )
    thresholds, true_positives, false_positives = _candidates(
        *cumulative_counts(truth, scores, np.ones((1, len(truth))))
    )
    merit = _merit(name, number, true_positives, false_positives)
    best = merit.max()
    if best == -np.inf:
        raise DataError(f"No threshold reaches {rule} on these {len(truth)} films; lower the bound.")
    # Merits are sums of whole numbers and of fractions 1 / n; they differ by more than rounding or not at all.
    optimal = thresholds[np.isclose(merit, best, rtol=1e-12, atol=0)]
    middle = (optimal.min() + optimal.max()) / 2
    return float(optimal[np.abs(optimal - middle).argmin()])


def _candidates(scores: Floats, true_positives: Floats, false_positives: Floats) -> tuple[Floats, Floats, Floats]:
    """Thresholds, falling, with the true and the false positives of each; `scores` are distinct and fall."""
    below = np.append(scores[1:], 0.0)
    middle = (scores + below) / 2
    # Between neighbouring floats there is no middle: the upper one parts them as well, since films at it count above.
    thresholds = np.where(middle > below, middle, scores)
    true_positives, false_positives = true_positives[0], false_positives[0]
    if scores[0] == 1.0:  # no threshold of [0, 1] leaves out a film that scores 1
        return thresholds, true_positives, false_positives
    highest = (scores[0] + 1.0) / 2
    return np.append(highest, thresholds), np.append(0.0, true_positives), np.append(0.0, false_positives)


def _merit(name: str, number: float, true_positives: Floats, false_positives: Floats) -> Floats:
    """What the rule makes as large as possible, for each candidate; minus infinity where its bound is not met."""
    positives, negatives = float(true_positives[-1]), float(false_positives[-1])
    true_negatives: Floats = negatives - false_positives
    # The fraction is below 1: it decides among candidates whose whole numbers are equal, and only there.
    merits: dict[str, Floats] = {
        "youden": true_positives * negatives + true_negatives * positives,
        "accuracy": true_positives + true_negatives,
        "cost": -(number * (positives - true_positives) + false_positives),
        "sensitivity": true_negatives + true_positives / (positives + 1),
        "specificity": true_positives + true_negatives / (negatives + 1),
    }
    bounded = {"sensitivity": true_positives / positives, "specificity": true_negatives / negatives}
    if name in bounded:
        return np.where(bounded[name] >= number - 1e-12, merits[name], -np.inf)
    return merits[name]
