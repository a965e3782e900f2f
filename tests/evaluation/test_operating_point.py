"""Temperature and probabilities: stable, recovered from logits that were scaled, refused when they make no sense."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.operating_point import (
    OperatingPoint,
    calibrated_probabilities,
    fit_operating_point,
    fit_temperature,
    positive_probability,
)


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
    point = fit_operating_point(2 * logits, classes, "sensitivity>=0.95")
    called = positive_probability(2 * logits, point.temperature) >= point.threshold
    assert point.temperature == pytest.approx(2, rel=0.05)
    assert point.rule == "sensitivity>=0.95"
    assert called[classes > 0].mean() >= 0.95


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        OperatingPoint(temperature, 0.5, "youden")
    with pytest.raises(ConfigError, match="temperature"):
        positive_probability([[0.0, 1.0]], temperature)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        OperatingPoint(1.0, threshold, "youden")


@pytest.mark.parametrize("logits", [[0.0, 1.0], [[1.0], [2.0]], [[0.0, math.nan]], [[0.0, math.inf]]])
def test_logits_of_another_form_are_refused(logits):
    with pytest.raises(DataError, match="ogits"):
        calibrated_probabilities(logits, 1.0)


@pytest.mark.parametrize("classes", [[0], [0, 2], [[0, 1]]])
def test_classes_that_do_not_fit_the_logits_are_refused(classes):
    with pytest.raises(DataError, match=r"2 rows of 2 logits"):
        fit_temperature([[0.0, 1.0], [1.0, 0.0]], classes)
