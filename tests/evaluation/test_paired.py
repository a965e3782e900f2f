"""Paired tests give what their definitions give, film by film, and are as sure as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.errors import DataError
from pneumonia.evaluation.metrics import auroc
from pneumonia.evaluation.paired import compare_aurocs, compare_decisions

GRID = st.integers(0, 10).map(lambda tenth: tenth / 10)
FILMS = st.lists(st.tuples(st.integers(0, 1), GRID, GRID), min_size=4, max_size=40).filter(
    lambda films: 2 <= sum(label for label, _, _ in films) <= len(films) - 2
)


def by_definition(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The structural components of DeLong et al., equations 5 and 6, from every pair."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    return wins.mean(axis=1), wins.mean(axis=0)


@given(FILMS)
def test_areas_and_their_error_are_those_of_the_definition(films: list[tuple[int, float, float]]) -> None:
    labels, first, second = (np.array(column) for column in zip(*films, strict=True))
    paired = compare_aurocs(labels, first, second)
    assert paired.candidate == pytest.approx(auroc(labels, first))
    assert paired.present == pytest.approx(auroc(labels, second))
    (v10, v01), (w10, w01) = by_definition(labels, first), by_definition(labels, second)
    variance = np.var(v10 - w10, ddof=1) / len(v10) + np.var(v01 - w01, ddof=1) / len(v01)
    assert paired.standard_error == pytest.approx(math.sqrt(variance), abs=1e-6)


@given(FILMS)
def test_the_two_sides_of_a_comparison_add_up(films: list[tuple[int, float, float]]) -> None:
    labels, first, second = zip(*films, strict=True)
    one, other = compare_aurocs(labels, first, second), compare_aurocs(labels, second, first)
    assert one.difference == -other.difference
    if one.standard_error > 0:
        assert one.p_worse + other.p_worse == pytest.approx(1)


def test_of_equal_classifiers_neither_is_worse() -> None:
    paired = compare_aurocs([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], [0.1, 0.6, 0.4, 0.9])
    assert (paired.difference, paired.standard_error, paired.p_worse) == (0, 0, 1)


def test_a_difference_without_any_spread_is_one() -> None:
    assert compare_aurocs([0, 0, 1, 1], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]).p_worse == 0


def test_equally_good_classifiers_are_called_worse_about_as_often_as_the_test_says() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    found = []
    for _ in range(1000):
        common = labels + rng.normal(size=120)
        first, second = (1 / (1 + np.exp(-common - rng.normal(size=120) * 0.7)) for _ in range(2))
        found.append(compare_aurocs(labels, first, second).p_worse < 0.05)
    assert 0.03 < np.mean(found) < 0.07


@pytest.mark.parametrize("labels", [[0, 0, 0, 1], [1, 1, 1, 1], []])
def test_areas_of_films_of_one_label_are_not_compared(labels: list[int]) -> None:
    with pytest.raises(DataError, match="two of each or more"):
        compare_aurocs(labels, [0.5] * len(labels), [0.5] * len(labels))


def test_of_decisions_only_those_that_differ_count() -> None:
    labels = [1] * 20
    paired = compare_decisions(labels, [1] * 15 + [0] * 5, [0] * 2 + [1] * 18)
    assert (paired.n, paired.gained, paired.lost) == (20, 2, 5)
    assert paired.p_worse == pytest.approx(sum(math.comb(7, k) for k in (5, 6, 7)) / 2**7)
    assert compare_decisions(labels, labels, labels).p_worse == 1


def test_decisions_for_other_films_are_not_compared() -> None:
    with pytest.raises(DataError, match="for every film"):
        compare_decisions([1, 0], [1], [1, 0])
