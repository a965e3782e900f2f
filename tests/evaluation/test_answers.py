"""Figures of prediction sets, of the input check and of several classes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.data.manifest import LABELS, PATHOGENS, Row
from pneumonia.evaluation.answers import Answers, answer_figures, collect_answers
from pneumonia.evaluation.answers_page import answers_section
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction


def row(label, pathogen=""):
    return Row(f"test/{label}/film.png", "test", label, "patient", pathogen, 8, 8, "0" * 64)


def prediction(classes, index, possible=(), passed=True):
    return Prediction(
        prediction=classes[index],
        class_index=index,
        probability=0.5,
        threshold=0.5,
        probabilities={name: (place + 1) / 10 for place, name in enumerate(classes)},
        prediction_set=list(possible),
        coverage=0.9,
        abstained=not passed,
        input_check=InputCheck(passed),
        model="cnn:0123456789ab",
    )


def answers(truth, called, sets, classes=LABELS, passed=None):
    """Of films whose sets are given by the indices of their classes."""
    n = len(truth)
    within = np.array([[index in one for index in range(len(classes))] for one in sets], dtype=bool)
    return Answers(
        classes=tuple(classes),
        truth=np.array(truth, dtype=np.int64),
        called=np.array(called, dtype=np.int64),
        probabilities=np.full((n, len(classes)), 1 / len(classes)),
        sets=within.reshape(n, len(classes)),
        coverage=0.9,
        passed=np.ones(n, dtype=bool) if passed is None else np.array(passed),
        abstained=np.zeros(n, dtype=bool),
    )


def figures_of(given_answers, patients=None):
    patients = patients or [f"patient{index}" for index in range(len(given_answers.truth))]
    return answer_figures(given_answers, patients, resamples=50)


def value(share):
    return share["value"]


@pytest.fixture
def two():
    """Six films: decided rightly twice and wrongly once, undecided, empty, and decided rightly but refused."""
    return answers(
        truth=[0, 1, 1, 0, 1, 1],
        called=[0, 1, 0, 0, 1, 1],
        sets=[{0}, {1}, {0}, {0, 1}, set(), {1}],
        passed=[True, True, True, True, True, False],
    )


@pytest.fixture
def three():
    """Five films: normal, two bacterial, two viral; one kind is taken for the other, one film for normal."""
    return answers([0, 1, 1, 2, 2], [0, 1, 2, 2, 0], [{0}, {1}, {1, 2}, {0, 2}, set()], PATHOGENS)


def test_answers_are_collected_in_the_order_of_the_films_and_the_classes():
    rows = [row("NORMAL"), row("PNEUMONIA", "virus"), row("PNEUMONIA", "bacteria"), row("PNEUMONIA")]
    predictions = [
        prediction(PATHOGENS, 0, ["NORMAL"]),
        prediction(PATHOGENS, 2, ["BACTERIA", "VIRUS"], passed=False),
        prediction(PATHOGENS, 1),
        prediction(PATHOGENS, 1, ["VIRUS"]),
    ]
    collected = collect_answers(rows, predictions, PATHOGENS)
    assert collected.truth.tolist() == [0, 2, 1, -1]
    assert collected.called.tolist() == [0, 2, 1, 1]
    assert collected.probabilities.tolist() == [[0.1, 0.2, 0.3]] * 4
    assert collected.sets.tolist() == [[True, False, False], [False, True, True], [False] * 3, [False, False, True]]
    assert collected.passed.tolist() == [True, False, True, True]
    assert collected.abstained.tolist() == [False, True, False, False]
    assert (collected.classes, collected.coverage) == (PATHOGENS, 0.9)


def test_the_share_of_a_class_is_that_of_its_own_films_whose_set_holds_it(two):
    covered = figures_of(two)["prediction_sets"]["covered"]
    assert {name: value(share) for name, share in covered.items()} == {"NORMAL": 1.0, "PNEUMONIA": 0.5}


def test_films_are_decided_undecided_or_like_neither(two):
    sets = figures_of(two)["prediction_sets"]
    assert [value(sets[name]) for name in ("decided", "undecided", "empty")] == pytest.approx([4 / 6, 1 / 6, 1 / 6])


def test_the_accuracy_among_the_decided_films_leaves_out_the_others(two):
    assert value(figures_of(two)["prediction_sets"]["accuracy_decided"]) == 0.75


def test_films_that_the_input_check_refused_are_counted(two):
    assert figures_of(two)["input_check"]["count"] == 1
    assert value(figures_of(two)["input_check"]["refused"]) == pytest.approx(1 / 6)


def test_a_set_of_several_kinds_of_pneumonia_is_a_decision(three):
    sets = figures_of(three)["prediction_sets"]
    assert [value(sets[name]) for name in ("decided", "undecided", "empty")] == pytest.approx([0.6, 0.2, 0.2])
    assert value(sets["accuracy_decided"]) == 1.0  # viral for bacterial is pneumonia all the same


def test_of_three_classes_each_has_its_recall_and_its_row_of_the_matrix(three):
    classes = figures_of(three)["classes"]
    assert classes["names"] == list(PATHOGENS)
    assert value(classes["accuracy"]) == 0.6
    assert {name: value(share) for name, share in classes["recall"].items()} == {
        "NORMAL": 1.0,
        "BACTERIA": 0.5,
        "VIRUS": 0.5,
    }
    assert classes["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]


def test_two_classes_have_no_figures_of_every_class(two):
    assert "classes" not in figures_of(two)


def test_films_of_an_unknown_kind_are_pneumonia_but_leave_the_kinds_unmeasured():
    figures = figures_of(answers([0, -1], [0, 2], [{0}, {2}], PATHOGENS))
    assert "classes" not in figures
    assert value(figures["prediction_sets"]["accuracy_decided"]) == 1.0
    assert value(figures["prediction_sets"]["covered"]["VIRUS"]) is None


def test_copies_of_a_patient_s_films_do_not_narrow_an_interval(two):
    nine = answers(np.tile(two.truth, 9), np.tile(two.called, 9), [{0}, {1}, {0}, {0, 1}, set(), {1}] * 9)
    alone = figures_of(two)["prediction_sets"]["decided"]
    assert figures_of(nine, [f"patient{index % 6}" for index in range(54)])["prediction_sets"]["decided"] == alone


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2), st.sets(st.integers(0, 2))), min_size=1, max_size=12))
def test_every_film_is_decided_undecided_or_empty_and_the_figures_are_strict_json(films):
    figures = figures_of(answers(*zip(*films, strict=True), PATHOGENS))
    sets = figures["prediction_sets"]
    assert sum(value(sets[name]) for name in ("decided", "undecided", "empty")) == pytest.approx(1)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert answers_section(figures)
