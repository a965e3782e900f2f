"""The operating point: a temperature that is recovered, stable probabilities, and decisions of two or three classes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.conformal import fit_set_thresholds, prediction_sets
from pneumonia.evaluation.operating_point import (
    DEFAULT_COVERAGE,
    OperatingPoint,
    calibrated_probabilities,
    decide,
    fit_offset,
    fit_operating_point,
    fit_temperature,
    log_odds,
    positive_probability,
    refit_operating_point,
)


def point(temperature=1.0, threshold=0.5, coverage=0.9, set_thresholds=(0.3, 0.3)):
    return OperatingPoint(temperature, threshold, "youden", coverage, set_thresholds)


def logits_of(*probabilities):
    """Rows whose softmax is these."""
    return np.log(np.array(probabilities))


def calibrated_films(seed, n=20_000, kinds=2):
    """Logits whose softmax is the chance of each class, and classes drawn with it."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (n, kinds))
    chances = calibrated_probabilities(logits, 1.0).cumsum(axis=1)
    classes = (generator.random((n, 1)) > chances).sum(axis=1).clip(max=kinds - 1)
    return logits, classes


def negative_log_likelihood(logits, classes, temperature):
    return -np.log(calibrated_probabilities(logits, temperature)[np.arange(len(classes)), classes]).mean()


@pytest.mark.parametrize("kinds", [2, 3])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_scaled_the_logits_is_found(kinds, temperature):
    logits, classes = calibrated_films(0, kinds=kinds)
    assert fit_temperature(logits * temperature, classes) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_temperature_is_likelier(seed):
    generator = np.random.default_rng(seed)
    logits, classes = generator.normal(0, 3, (200, 2)), generator.integers(0, 2, 200)
    logits[np.arange(200), classes] += 2
    best = fit_temperature(logits, classes)
    least = negative_log_likelihood(logits, classes, best)
    assert all(negative_log_likelihood(logits, classes, best * factor) > least for factor in (0.99, 1.01))


def test_logits_without_an_error_get_the_lowest_temperature():
    assert fit_temperature([[0.0, 3.0], [3.0, 0.0]], [1, 0]) == 0.05


def test_logits_that_are_wrong_throughout_get_the_highest_temperature():
    assert fit_temperature([[0.0, 3.0], [3.0, 0.0]], [0, 1]) == 20.0


def test_logits_that_say_nothing_keep_a_temperature_of_1():
    assert fit_temperature([[2.0, 2.0], [5.0, 5.0]], [0, 1]) == 1.0


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 3), min_size=1, max_size=20), st.floats(0.05, 20))
def test_probabilities_lie_in_0_to_1_and_sum_to_1_for_any_logits(rows, temperature):
    probabilities = calibrated_probabilities(rows, temperature)
    positive = positive_probability(rows, temperature)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(positive, 1 - probabilities[:, 0], atol=1e-12)
    assert ((positive >= 0) & (positive <= 1)).all()


def test_a_small_probability_of_pneumonia_keeps_its_digits():
    assert positive_probability([[0.0, -80.0]], 1.0)[0] == pytest.approx(math.exp(-80))


@settings(deadline=None)
@given(st.floats(0.05, 20))
def test_a_temperature_never_changes_which_class_is_likelier(temperature):
    logits = np.random.default_rng(0).normal(0, 3, (50, 2))
    expected = logits[:, 1] > logits[:, 0]
    np.testing.assert_array_equal(positive_probability(logits, temperature) > 0.5, expected)


def test_an_operating_point_is_fitted_from_logits_and_classes_of_several_kinds():
    logits, classes = calibrated_films(1, kinds=3)
    fitted = fit_operating_point(2 * logits, classes, "sensitivity>=0.95", coverage=0.8)
    called = positive_probability(2 * logits, fitted.temperature) >= fitted.threshold
    assert fitted.temperature == pytest.approx(2, rel=0.05)
    assert (fitted.rule, fitted.coverage) == ("sensitivity>=0.95", 0.8)
    assert called[classes > 0].mean() >= 0.95


@pytest.mark.parametrize("kinds", [2, 3])
def test_its_sets_are_fitted_on_the_calibrated_probabilities(kinds):
    logits, classes = calibrated_films(2, 500, kinds)
    fitted = fit_operating_point(3 * logits, classes)
    probabilities = calibrated_probabilities(3 * logits, fitted.temperature)
    assert fitted.coverage == DEFAULT_COVERAGE
    assert fitted.set_thresholds == fit_set_thresholds(probabilities, classes, DEFAULT_COVERAGE)


@pytest.mark.parametrize("kinds", [2, 3])
def test_its_sets_hold_each_class_of_new_films_as_often_as_asked(kinds):
    fitted = fit_operating_point(*calibrated_films(3, kinds=kinds), coverage=0.9)
    logits, classes = calibrated_films(4, kinds=kinds)
    decisions = decide(logits, fitted)
    held = [kind in one.prediction_set for kind, one in zip(classes, decisions, strict=True)]
    assert [np.mean(np.array(held)[classes == kind]) for kind in range(kinds)] == pytest.approx([0.9] * kinds, abs=0.02)


def test_the_offset_is_the_likeliest_and_makes_the_probabilities_sum_to_the_films_with_pneumonia():
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 2
    odds = generator.normal(np.where(labels == 1, 4.5, -4.5), 3.0) + 3.0

    def loss(offset):
        return np.logaddexp(0, np.where(labels == 1, -1, 1) * (odds + offset)).mean()

    offset = fit_offset(labels, odds)
    assert offset == pytest.approx(-3, abs=0.7)
    assert loss(offset) < min(loss(offset - 0.01), loss(offset + 0.01))
    rows = np.stack([np.zeros(400), odds], axis=1)
    assert positive_probability(rows, 1.0, offset).sum() == pytest.approx(labels.sum())


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-500, 500)), min_size=2, max_size=30).filter(
        lambda films: len({label for label, _ in films}) == 2
    )
)
def test_an_offset_is_found_however_far_the_films_lie(films):
    labels, odds = map(np.array, zip(*films, strict=True))
    offset = fit_offset(labels, odds)
    moved = np.stack([np.zeros(len(odds)), odds], axis=1)
    assert positive_probability(moved, 1.0, offset).sum() == pytest.approx(labels.sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "odds", "words"),
    [
        ([1, 1], [0.0, 1.0], "of both labels"),
        ([], [], "of both labels"),
        ([0, 1], [0.0], "a label and a finite number a film"),
        ([0, 1], [0.0, math.nan], "a label and a finite number a film"),
        ([0, 2], [0.0, 1.0], "of both labels"),
    ],
)
def test_films_that_tell_no_offset_are_refused(labels, odds, words):
    with pytest.raises(DataError, match=words):
        fit_offset(labels, odds)


@pytest.mark.parametrize("kinds", [2, 3])
def test_films_from_elsewhere_refit_all_but_the_temperature(kinds):
    logits, classes = calibrated_films(5, kinds=kinds)
    moved = logits.copy()
    moved[:, 1:] += 2.0
    refitted = refit_operating_point(3 * moved, classes, 3.0, "youden", 0.9)
    assert refitted.temperature == 3.0
    assert refitted.offset == pytest.approx(-2, abs=0.1)
    own = refit_operating_point(3 * logits, classes, 3.0, "youden", 0.9)
    assert refitted.threshold == pytest.approx(own.threshold, abs=1e-6)
    assert refitted.set_thresholds == pytest.approx(own.set_thresholds, abs=1e-6)


@given(st.lists(st.tuples(*[st.floats(-30, 30)] * 3), min_size=1, max_size=20), st.floats(-5, 5))
def test_an_offset_moves_pneumonia_and_leaves_the_odds_among_its_kinds(rows, offset):
    before, after = (calibrated_probabilities(rows, 2.0, moved) for moved in (0.0, offset))
    assert log_odds(rows, 2.0, offset) - log_odds(rows, 2.0) == pytest.approx(offset)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    np.testing.assert_allclose(after[:, 1] * before[:, 2], after[:, 2] * before[:, 1], rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("offset", [math.inf, math.nan])
def test_an_offset_that_is_no_number_is_refused(offset):
    with pytest.raises(ConfigError, match="is not a finite number"):
        OperatingPoint(1.0, 0.5, "youden", 0.9, (0.3, 0.3), offset)


LOGITS = st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=20)
POINTS = st.builds(
    point, st.floats(0.05, 20), st.floats(0, 1), st.floats(0.5, 0.999), st.tuples(*[st.floats(0, 1)] * 3)
)


@given(LOGITS, POINTS)
def test_a_decision_says_what_the_probabilities_say(rows, fitted):
    probabilities = calibrated_probabilities(rows, fitted.temperature)
    decisions = decide(rows, fitted)
    assert [one.probabilities for one in decisions] == [tuple(row) for row in probabilities]
    assert [one.probability for one in decisions] == positive_probability(rows, fitted.temperature).tolist()
    within = prediction_sets(probabilities, fitted.set_thresholds)
    assert [one.prediction_set for one in decisions] == [tuple(np.flatnonzero(row)) for row in within]


@given(LOGITS, POINTS)
def test_of_three_classes_pneumonia_is_what_is_not_normal_and_the_likeliest_kind_is_named(rows, fitted):
    for one in decide(rows, fitted):
        normal, *kinds = one.probabilities
        assert one.probability == pytest.approx(1 - normal, abs=1e-9)
        assert (one.class_index > 0) == (one.probability >= fitted.threshold)
        assert one.class_index == 0 or kinds[one.class_index - 1] == max(kinds)


def test_kinds_that_are_less_likely_than_normal_make_pneumonia_together():
    (decision,) = decide(logits_of([0.4, 0.25, 0.35]), point(set_thresholds=(0.3, 0.3, 0.3)))
    assert (decision.class_index, decision.probability) == (2, pytest.approx(0.6))


def test_at_the_threshold_itself_a_film_is_called_pneumonia():
    assert [one.class_index for one in decide([[0.0, 0.0], [0.0, -0.01]], point(threshold=0.5))] == [1, 0]


@pytest.mark.parametrize(
    ("threshold", "thresholds", "prediction_set", "decided"),
    [
        (0.6, (0.4, 0.9, 0.9), (0,), True),
        (0.4, (0.9, 0.9, 0.1), (2,), True),
        (0.4, (0.9, 0.1, 0.1), (1, 2), True),
        (0.4, (0.4, 0.9, 0.9), (0,), False),
        (0.6, (0.9, 0.9, 0.1), (2,), False),
        (0.4, (0.4, 0.1, 0.9), (0, 1), False),
        (0.4, (0.1, 0.1, 0.1), (0, 1, 2), False),
        (0.4, (0.9, 0.9, 0.9), (), False),
    ],
)
def test_a_set_decides_where_it_holds_what_the_film_is_called_and_nothing_else(
    threshold, thresholds, prediction_set, decided
):
    (decision,) = decide(logits_of([0.5, 0.2, 0.3]), point(threshold=threshold, set_thresholds=thresholds))
    assert (decision.prediction_set, decision.decided) == (prediction_set, decided)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        point(temperature)
    with pytest.raises(ConfigError, match="temperature"):
        positive_probability([[0.0, 1.0]], temperature)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(ConfigError, match="The threshold"):
        point(threshold=threshold)


@pytest.mark.parametrize("coverage", [0.0, 0.4, 1.0, math.nan])
def test_a_coverage_that_can_not_be_asked_for_is_refused(coverage):
    with pytest.raises(ConfigError, match="coverage"):
        point(coverage=coverage)
    with pytest.raises(ConfigError, match="coverage"):
        fit_operating_point(*calibrated_films(0, 50), coverage=coverage)


@pytest.mark.parametrize("thresholds", [(), (0.5,), (0.5, 1.1), (-0.1, 0.5), (0.5, math.nan)])
def test_set_thresholds_that_are_not_one_for_each_class_are_refused(thresholds):
    with pytest.raises(ConfigError, match="set thresholds"):
        point(set_thresholds=thresholds)


def test_set_thresholds_from_json_are_the_same_as_those_that_were_written():
    assert point(set_thresholds=[0, 0.25]) == point(set_thresholds=(0.0, 0.25))


@pytest.mark.parametrize("logits", [[0.0, 1.0], [[1.0], [2.0]], [[0.0, math.nan]], [[0.0, math.inf]]])
def test_logits_of_another_form_are_refused(logits):
    with pytest.raises(DataError, match="ogits"):
        calibrated_probabilities(logits, 1.0)


@pytest.mark.parametrize("classes", [[0], [0, 2], [[0, 1]]])
def test_classes_that_do_not_fit_the_logits_are_refused(classes):
    with pytest.raises(DataError, match=r"2 rows of 2 logits"):
        fit_temperature([[0.0, 1.0], [1.0, 0.0]], classes)
