"""Prediction sets: the threshold of the exact rank, a coverage that holds for each class, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.conformal import (
    MAX_COVERAGE,
    MIN_COVERAGE,
    check_coverage,
    cross_coverage,
    fit_set_thresholds,
    prediction_sets,
)

SEEDS = st.integers(0, 2**32 - 1)
# Written as people write them, so that the exact rank is known.
COVERAGES = st.sampled_from(["0.5", "0.7", "0.8", "0.9", "0.95", "0.98", "0.99", "0.999"])


def films(seed, n, kinds=2):
    """Probabilities, and classes that they tell something of; every class has a film."""
    generator = np.random.default_rng(seed)
    classes = np.concatenate([np.arange(kinds), generator.integers(0, kinds, n - kinds)])
    powers = np.exp(generator.normal(0, 1, (n, kinds)) + 1.5 * np.eye(kinds)[classes])
    return powers / powers.sum(axis=1, keepdims=True), classes


def least_scores(scores, coverage):
    """The largest score s such that of n + 1 films at most (1 - coverage)(n + 1) can lie below it; else 0."""
    allowed = (len(scores) + 1) * (1 - Fraction(coverage))
    # The film that comes next may itself be the one below.
    good = [score for score in scores if (scores < score).sum() + 1 <= allowed]
    return max(good, default=0.0)


@given(SEEDS, st.integers(3, 300), st.sampled_from([2, 3]), COVERAGES)
def test_the_threshold_is_the_largest_that_the_definition_allows(seed, n, kinds, coverage):
    probabilities, classes = films(seed, n, kinds)
    expected = [least_scores(probabilities[classes == k, k], coverage) for k in range(kinds)]
    assert list(fit_set_thresholds(probabilities, classes, float(coverage))) == expected


@pytest.mark.parametrize(("n", "rank"), [(1, 0), (18, 0), (19, 1), (20, 1), (38, 1), (39, 2), (99, 5), (399, 20)])
def test_ranks_that_rounding_could_miss_are_exact(n, rank):
    scores = np.linspace(0.1, 0.9, n)
    probabilities = np.column_stack([scores, 1 - scores])
    expected = scores[rank - 1] if rank else 0.0
    assert fit_set_thresholds(np.vstack([probabilities, [[0, 1]]]), [0] * n + [1], 0.95)[0] == expected


@given(SEEDS, st.integers(10, 200), COVERAGES)
def test_of_the_films_that_calibrate_at_least_the_coverage_is_held(seed, n, coverage):
    probabilities, classes = films(seed, n)
    sets = prediction_sets(probabilities, fit_set_thresholds(probabilities, classes, float(coverage)))
    assert all(sets[classes == k, k].mean() >= float(coverage) for k in range(2))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("kinds", [2, 3])
def test_of_films_that_come_as_the_calibration_came_each_class_is_covered_as_asked(kinds, coverage):
    held = []
    for seed in range(600):
        probabilities, classes = films(seed, 240, kinds)
        first = np.arange(240) % 2 == 0
        sets = prediction_sets(
            probabilities[~first], fit_set_thresholds(probabilities[first], classes[first], coverage)
        )
        held.append([sets[classes[~first] == k, k].mean() for k in range(kinds)])
    mean, error = np.mean(held, axis=0), np.std(held, axis=0) / np.sqrt(len(held))
    assert (mean >= coverage - 3 * error).all()
    assert (mean <= coverage + 1 / 30 + 3 * error).all()  # by less than 1 / (n_k + 1) too much


def test_a_class_that_is_rare_is_covered_by_a_threshold_of_its_own():
    probabilities, classes = films(0, 4000)
    kept = (classes == 0) | (np.arange(4000) % 20 == 0)
    probabilities, classes = probabilities[kept] * [1.0, 0.3], classes[kept]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    common, rare = fit_set_thresholds(probabilities, classes, 0.9)
    assert common > 2 * rare


@given(SEEDS, st.integers(5, 200), st.floats(MIN_COVERAGE, MAX_COVERAGE), st.floats(MIN_COVERAGE, MAX_COVERAGE))
def test_a_higher_coverage_only_adds_classes_to_a_set(seed, n, one, other):
    probabilities, classes = films(seed, n, 3)
    lower, higher = (
        prediction_sets(probabilities, fit_set_thresholds(probabilities, classes, coverage))
        for coverage in sorted((one, other))
    )
    assert (lower <= higher).all()


@given(SEEDS, st.integers(5, 100))
def test_the_order_of_the_films_does_not_matter(seed, n):
    probabilities, classes = films(seed, n, 3)
    order = np.random.default_rng(seed).permutation(n)
    assert fit_set_thresholds(probabilities, classes, 0.9) == fit_set_thresholds(
        probabilities[order], classes[order], 0.9
    )


def test_a_class_of_too_few_films_belongs_to_every_set():
    probabilities, classes = [[0.9, 0.1], [0.8, 0.2], [0.0, 1.0]], [0, 0, 1]
    assert fit_set_thresholds(probabilities, classes, 0.95) == (0.0, 0.0)
    assert prediction_sets(probabilities, (0.0, 0.0)).all()


def test_a_probability_at_the_threshold_is_within():
    assert prediction_sets([[0.4, 0.6]], (0.4, 0.7)).tolist() == [[True, False]]


def test_a_set_may_be_empty():
    assert not prediction_sets([[0.5, 0.5]], (0.6, 0.7)).any()


@pytest.mark.parametrize("coverage", [0.0, 0.49, 0.9991, 1.0, -1.0, float("nan"), float("inf")])
def test_a_coverage_that_can_not_be_asked_for_is_refused(coverage):
    with pytest.raises(ConfigError, match="coverage"):
        check_coverage(coverage)
    with pytest.raises(ConfigError, match="coverage"):
        fit_set_thresholds([[0.9, 0.1], [0.1, 0.9]], [0, 1], coverage)
    with pytest.raises(ConfigError, match="coverage"):
        cross_coverage(*films(0, 100), ["patient"] * 50 + ["other"] * 50, coverage)


def test_a_class_without_a_film_is_refused_and_named():
    with pytest.raises(DataError, match="No film of class 1"):
        fit_set_thresholds([[0.9, 0.1], [0.8, 0.2]], [0, 0], 0.9)


@pytest.mark.parametrize(
    ("probabilities", "classes"), [([0.9, 0.1], [0, 1]), ([[0.9, 0.1]], [0, 1]), ([[0.9, 0.1]], [[0]]), ([], [])]
)
@pytest.mark.parametrize("function", [fit_set_thresholds, lambda p, c, coverage: cross_coverage(p, c, ["a"], coverage)])
def test_probabilities_and_classes_of_another_form_are_refused(function, probabilities, classes):
    with pytest.raises(DataError, match="expected"):
        function(probabilities, classes, 0.9)


def test_the_cross_coverage_is_about_the_one_asked_for():
    probabilities, classes = films(1, 2000, 3)
    patients = [f"patient{index // 2}" for index in range(2000)]
    assert cross_coverage(probabilities, classes, patients, 0.9) == pytest.approx([0.9] * 3, abs=0.02)


def test_the_cross_coverage_is_the_same_for_the_same_seed_and_another_for_another():
    arguments = (*films(2, 200), [f"patient{index}" for index in range(200)], 0.8)
    assert cross_coverage(*arguments, seed=1) == cross_coverage(*arguments, seed=1)
    assert cross_coverage(*arguments, seed=1) != cross_coverage(*arguments, seed=2)


def test_no_patient_is_on_both_sides_of_a_halving():
    # Of each class two patients, one with low and one with high probabilities: where one calibrates, either none of
    # the other's films are covered or all. Films of one patient on both sides would be covered by their likes.
    low, high = np.full(100, 0.2), np.full(100, 0.8)
    scores = np.concatenate([low, high])
    probabilities = np.vstack([np.column_stack([scores, 1 - scores]), np.column_stack([1 - scores, scores])])
    patients = [f"patient{index // 100}" for index in range(400)]
    by_patient = cross_coverage(probabilities, np.arange(400) // 200, patients, 0.9)
    by_film = cross_coverage(probabilities, np.arange(400) // 200, [str(index) for index in range(400)], 0.9)
    assert all(0.3 < covered < 0.7 for covered in by_patient)
    assert min(by_film) > 0.9


def test_the_cross_coverage_of_too_few_films_is_undefined():
    assert np.isnan(cross_coverage([[0.9, 0.1], [0.2, 0.8]], [0, 1], ["one", "one"], 0.9)).all()
