"""What another operating point would mean, as figures and as people."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.demo.exploring import of_people, point_at, predictive, wilson
from pneumonia.demo.people import explored, picture_of
from pneumonia.demo.strings import Strings
from pneumonia.evaluation.metrics import npv, ppv, sensitivity, specificity

SAY = Strings("en")
LABELS = (0, 0, 0, 1, 1, 1, 1)
PROBABILITIES = (0.1, 0.4, 0.6, 0.3, 0.6, 0.8, 0.9)

answers = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=60).filter(
    lambda rows: {label for label, _ in rows} == {0, 1}
)


@given(answers, st.floats(0, 1))
def test_the_figures_are_those_of_the_evaluation(rows: list[tuple[int, float]], threshold: float) -> None:
    labels, probabilities = zip(*rows, strict=True)
    point = point_at(labels, probabilities, threshold)
    assert point.sensitivity.value == pytest.approx(sensitivity(labels, probabilities, threshold))
    assert point.specificity.value == pytest.approx(specificity(labels, probabilities, threshold))
    # At the prevalence of the films themselves, Bayes' rule gives what is counted.
    answer = predictive(point, float(np.mean(labels)))
    assert answer.ppv == pytest.approx(ppv(labels, probabilities, threshold), nan_ok=True)
    assert answer.npv == pytest.approx(npv(labels, probabilities, threshold), nan_ok=True)


@given(answers, st.floats(0, 1), st.floats(0, 1))
def test_people_are_as_many_as_were_asked_for(
    rows: list[tuple[int, float]], threshold: float, prevalence: float
) -> None:
    people = of_people(point_at(*zip(*rows, strict=True), threshold), prevalence)
    assert people.found + people.missed == round(1000 * prevalence)
    assert sum((people.found, people.missed, people.false_alarms, people.cleared)) == 1000
    assert min(people.found, people.missed, people.false_alarms, people.cleared) >= 0


def test_a_film_at_the_threshold_is_called_pneumonia() -> None:
    assert point_at(LABELS, PROBABILITIES, 0.6).sensitivity.value == pytest.approx(3 / 4)
    assert point_at(LABELS, PROBABILITIES, 0.6).specificity.value == pytest.approx(2 / 3)


def test_nobody_called_has_no_predictive_value() -> None:
    answer = predictive(point_at((0, 1), (0.1, 0.2), 0.9), 0.2)
    assert math.isnan(answer.ppv)
    assert answer.npv == pytest.approx(0.8)


def test_a_share_of_nothing_is_undefined() -> None:
    assert math.isnan(wilson(0, 0).value)


def test_the_words_name_the_model_s_own_point_and_figures_are_there() -> None:
    point = point_at(LABELS, PROBABILITIES, 0.5)
    answer, people = predictive(point, 0.2), of_people(point, 0.2)
    own = explored(SAY, point, answer, people, 0.5)
    assert "This is the model&#x27;s own operating point, 50.0%." in own
    assert 'id="explored-sensitivity">75.0%' in own
    assert "films are decided by that one" in explored(SAY, point, answer, people, 0.7)


def test_the_picture_has_a_dot_for_each_person() -> None:
    people = of_people(point_at(LABELS, PROBABILITIES, 0.5), 0.2)
    drawn = picture_of(SAY, people)
    assert drawn.count("z") - drawn.count("size") >= 1000
    assert "150 with pneumonia are found, 50 are missed" in drawn
