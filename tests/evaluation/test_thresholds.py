"""Rules for the threshold: each finds what a search of every threshold finds, and lies between scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.metrics import confusion, sensitivity, specificity
from pneumonia.evaluation.thresholds import fit_threshold, parse_rule

LABELS = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])
SCORES = np.arange(10) / 10 + 0.05


@st.composite
def samples(draw):
    n = draw(st.integers(2, 30))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))]
    steps = draw(st.lists(st.integers(0, 20), min_size=len(labels), max_size=len(labels)))
    return np.array(labels), np.array(steps) / 20


def least(labels, scores, loss):
    """The smallest loss of all thresholds in [0, 1] that matter."""
    return min(loss(confusion(labels, scores, threshold)) for threshold in np.linspace(0, 1, 41))


@pytest.mark.parametrize(
    ("rule", "loss"),
    [
        ("accuracy", lambda cells: cells.fp + cells.fn),
        ("cost=5", lambda cells: cells.fp + 5 * cells.fn),
        ("youden", lambda cells: cells.fp * (cells.tp + cells.fn) + cells.fn * (cells.tn + cells.fp)),
    ],
)
@settings(deadline=None)
@given(sample=samples())
def test_no_threshold_is_better_by_the_rule(rule, loss, sample):
    labels, scores = sample
    found = loss(confusion(labels, scores, fit_threshold(labels, scores, rule)))
    assert found == least(labels, scores, loss)


@settings(deadline=None)
@given(samples(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_a_bound_on_sensitivity_holds_with_the_largest_specificity(sample, bound):
    labels, scores = sample
    threshold = fit_threshold(labels, scores, f"sensitivity>={bound}")
    possible = [t for t in np.linspace(0, 1, 41) if sensitivity(labels, scores, t) >= bound - 1e-12]
    assert sensitivity(labels, scores, threshold) >= bound - 1e-12
    assert specificity(labels, scores, threshold) == max(specificity(labels, scores, t) for t in possible)


@settings(deadline=None)
@given(samples(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_a_bound_on_specificity_holds_with_the_largest_sensitivity_or_is_refused(sample, bound):
    labels, scores = sample
    possible = [t for t in np.linspace(0, 1, 41) if specificity(labels, scores, t) >= bound - 1e-12]
    if not possible:
        with pytest.raises(DataError, match="No threshold reaches"):
            fit_threshold(labels, scores, f"specificity>={bound}")
        return
    threshold = fit_threshold(labels, scores, f"specificity>={bound}")
    assert specificity(labels, scores, threshold) >= bound - 1e-12
    assert sensitivity(labels, scores, threshold) == max(sensitivity(labels, scores, t) for t in possible)


@settings(deadline=None)
@given(samples(), st.sampled_from(["youden", "accuracy", "cost=3", "sensitivity>=0.9"]))
def test_a_threshold_is_never_a_score_unless_that_score_is_0(sample, rule):
    labels, scores = sample
    threshold = fit_threshold(labels, scores, rule)
    assert 0 <= threshold <= 1
    assert threshold == 0 or threshold not in scores


def test_separated_classes_are_parted_halfway():
    assert fit_threshold([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], "youden") == pytest.approx(0.5)


def test_among_equally_good_thresholds_the_one_nearest_their_middle_is_taken():
    labels = [0, 1, 0, 1, 0, 1]
    scores = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]  # 4 of 6 are right at 0.15, at 0.5 and at 0.85
    assert fit_threshold(labels, scores, "accuracy") == pytest.approx(0.5)


def test_among_equal_specificities_the_larger_sensitivity_is_taken():
    threshold = fit_threshold([0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.5, 0.6, 0.7, 0.8], "sensitivity>=0.5")
    assert threshold == pytest.approx(0.35)


@pytest.mark.parametrize("lower", [0.3, float(np.nextafter(0.3, 1))])  # their middle rounds up, and down
def test_neighbouring_floats_are_parted(lower):
    scores = [lower, float(np.nextafter(lower, 1))]
    assert confusion([0, 1], scores, fit_threshold([0, 1], scores, "accuracy")) == (1, 0, 0, 1)


def test_a_dearer_miss_lowers_the_threshold():
    thresholds = [fit_threshold(LABELS, SCORES, f"cost={cost}") for cost in (0.1, 1, 10)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("youden", ("youden", 0.0)),
        (" accuracy ", ("accuracy", 0.0)),
        ("sensitivity>=0.95", ("sensitivity", 0.95)),
        ("specificity >= .9", ("specificity", 0.9)),
        ("cost=5", ("cost", 5.0)),
    ],
)
def test_a_rule_is_read(text, rule):
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "f1", "youden=1", "sensitivity", "sensitivity>=1.5", "specificity>=0", "cost=0", "cost=-1", "cost=inf"]
)
def test_what_is_no_rule_is_refused_with_the_rules_that_there_are(text):
    with pytest.raises(ConfigError, match=r"youden.*accuracy.*sensitivity>=X.*specificity>=X.*cost=X"):
        parse_rule(text)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_films_of_one_class_give_no_threshold(labels):
    with pytest.raises(DataError, match="both classes"):
        fit_threshold(labels, [0.2, 0.8], "youden")
