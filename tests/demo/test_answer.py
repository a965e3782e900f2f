"""The page's words: what it says of a prediction and of a problem."""

import html
import re
from dataclasses import replace
from functools import partial

import pytest

from pneumonia import DISCLAIMER
from pneumonia.demo import answer
from pneumonia.demo.problems import DOWN, Problem
from pneumonia.demo.strings import Strings
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

SAY = Strings("en")
percents, probability_bar = partial(answer.percents, SAY), partial(answer.probability_bar, SAY)
problem_card, words_of = partial(answer.problem_card, SAY), partial(answer.words_of, SAY)


def prediction(
    probability: float = 0.9,
    threshold: float = 0.4,
    reasons: tuple[str, ...] = (),
    possible: tuple[str, ...] | None = None,
    coverage: float = 0.95,
) -> Prediction:
    """By a model of two classes; `possible` is its prediction set, the class that it calls the film without."""
    index = int(probability >= threshold)
    name = ("NORMAL", "PNEUMONIA")[index]
    names = [name] if possible is None else list(possible)
    return Prediction(
        prediction=name,
        class_index=index,
        probability=probability,
        threshold=threshold,
        probabilities={"NORMAL": 1 - probability, "PNEUMONIA": probability},
        prediction_set=names,
        coverage=coverage,
        abstained=bool(reasons) or names != [name],
        input_check=InputCheck(not reasons, list(reasons)),
        model="cnn:0123456789ab",
    )


def prediction_of_three(*possible: str, decided: bool) -> Prediction:
    """By a model that tells bacterial from viral pneumonia, and calls the film viral."""
    shares = {"NORMAL": 0.05, "BACTERIA": 0.2, "VIRUS": 0.75}
    return replace(
        prediction(0.95),
        prediction="VIRUS",
        class_index=2,
        probabilities=shares,
        prediction_set=list(possible),
        abstained=not decided,
    )


def card(given: Prediction, synthetic: bool = False, heatmap: bool = True) -> str:
    return answer.answer_card(SAY, given, synthetic, heatmap)


def text_of(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup)))


def test_a_film_above_the_operating_point_is_called_pneumonia() -> None:
    text = text_of(card(prediction(0.9, 0.4)))
    assert "Pneumonia" in text
    assert "at or above the operating point" in text
    assert "90.0%" in text


def test_a_film_below_it_is_called_normal() -> None:
    text = text_of(card(prediction(0.1, 0.4)))
    assert "Normal" in text
    assert "below the operating point" in text


def test_a_film_at_it_is_called_pneumonia() -> None:
    assert "at or above" in text_of(card(prediction(0.4, 0.4)))


@pytest.mark.parametrize(
    "given", [prediction(0.9), prediction(0.1), prediction(reasons=("It is blank.",)), prediction(possible=())]
)
def test_every_decision_carries_disclaimer_and_model(given: Prediction) -> None:
    text = text_of(card(given))
    assert DISCLAIMER in text
    assert given.model in text


def test_an_abstention_says_why_and_shows_no_decision() -> None:
    text = text_of(card(prediction(0.9, reasons=("The image is blank or nearly so.",))))
    assert "abstains" in text
    assert "The image is blank or nearly so." in text
    assert "Pneumonia" not in text
    assert "%" not in text


def test_an_input_check_that_passed_is_said_to_have() -> None:
    assert "Input check passed." in text_of(card(prediction()))


@pytest.mark.parametrize(("probability", "word"), [(0.9, "pneumonia"), (0.1, "normal")])
def test_a_set_of_one_class_says_that_it_alone_is_plausible(probability: float, word: str) -> None:
    text = text_of(card(prediction(probability, coverage=0.9)))
    assert f"Only {word} is plausible at a coverage of 90%." in text
    assert "The model calls this film" in text


def test_a_set_of_both_classes_names_them_and_leaves_the_film_undecided() -> None:
    text = text_of(card(prediction(possible=("NORMAL", "PNEUMONIA"))))
    assert "Both are possible: normal and pneumonia, at a coverage of 95%." in text
    assert "The model is not sure" in text


def test_a_set_that_holds_another_class_than_the_label_says_both() -> None:
    text = text_of(card(prediction(0.3, 0.4, possible=("PNEUMONIA",))))
    assert "Only pneumonia is plausible at a coverage of 95%." in text
    assert "The operating point alone would call it normal." in text
    assert "The model is not sure" in text


def test_an_empty_set_says_that_no_class_fits_and_leaves_the_film_undecided() -> None:
    text = text_of(card(prediction(possible=())))
    assert "None of the classes fits at a coverage of 95%" in text
    assert "The model is not sure" in text


@pytest.mark.parametrize("possible", [(), ("NORMAL", "PNEUMONIA")])
def test_an_undecided_film_looks_like_no_decision(possible: tuple[str, ...]) -> None:
    markup = card(prediction(possible=possible))
    assert '<section class="card abstained">' in markup
    assert "The model calls this film" not in markup


def test_a_film_that_fails_the_input_check_has_no_set() -> None:
    assert "plausible" not in card(prediction(reasons=("The image is blank or nearly so.",)))


def test_of_three_classes_each_one_s_share_is_listed() -> None:
    markup = card(prediction_of_three("VIRUS", decided=True))
    shares = [text_of(item).strip() for item in re.findall(r"<li>.*?</li>", markup)]
    assert shares == ["Normal: 5.0%", "Bacterial pneumonia: 20.0%", "Viral pneumonia: 75.0%"]


def test_of_two_classes_the_bar_shows_the_shares_already() -> None:
    assert "<li>" not in card(prediction())


def test_two_kinds_of_pneumonia_that_are_possible_are_a_decision() -> None:
    text = text_of(card(prediction_of_three("BACTERIA", "VIRUS", decided=True)))
    assert "Both are possible: bacterial pneumonia and viral pneumonia," in text
    assert "The model calls this film" in text


def test_three_classes_that_are_possible_are_all_named() -> None:
    text = text_of(card(prediction_of_three("NORMAL", "BACTERIA", "VIRUS", decided=False)))
    assert "All of them are possible: normal, bacterial pneumonia and viral pneumonia, at a coverage of 95%." in text
    assert "The model is not sure" in text


def test_a_synthetic_model_is_named_so_beside_its_answer() -> None:
    assert "means nothing for people" in text_of(card(prediction(), synthetic=True))
    assert "means nothing for people" not in text_of(card(prediction(), synthetic=False))


def test_a_heatmap_that_is_missing_is_mentioned() -> None:
    assert "no heatmap" in text_of(card(prediction(), heatmap=False))
    assert "no heatmap" not in text_of(card(prediction(), heatmap=True))


def test_the_bar_says_in_words_what_it_shows() -> None:
    markup = probability_bar(0.873, 0.41)
    assert 'role="img"' in markup
    assert 'aria-label="Calibrated probability of pneumonia: 87.3%. Operating point: 41.0%."' in markup
    assert "width:87.30%" in markup
    assert markup.count("left:41.00%") == 2


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        (0.5, 0.4, ("50.0%", "40.0%")),
        (0.7447, 0.74481, ("74.47%", "74.48%")),
        (0.0, 0.4, ("under 0.1%", "40.0%")),
        (1.0, 0.4, ("over 99.9%", "40.0%")),
        (0.4, 0.4, ("40.0%", "40.0%")),
    ],
)
def test_figures_are_told_apart_and_never_certain(
    probability: float, threshold: float, expected: tuple[str, str]
) -> None:
    assert percents(probability, threshold) == expected


def test_classes_are_words() -> None:
    assert words_of("BACTERIA") == "Bacterial pneumonia"
    assert words_of("SOME_KIND") == "Some kind"


def test_a_problem_says_what_happened_and_what_to_do() -> None:
    text = text_of(problem_card(DOWN, film_kept=True))
    assert DOWN.what(SAY) in text
    assert "Try again" in text
    assert "Your film is kept." in text


def test_a_film_is_said_to_be_kept_only_where_it_can_be_sent_again() -> None:
    final = Problem("damaged", retry=False)
    assert "kept" not in problem_card(final, film_kept=True)
    assert "kept" not in problem_card(DOWN, film_kept=False)


def test_what_a_server_says_is_text_and_never_markup() -> None:
    hostile = "<script>alert(1)</script>"
    markup = problem_card(Problem("failed", detail=hostile, request_id=hostile), film_kept=True) + card(
        prediction(reasons=(hostile,))
    )
    assert "<script" not in markup


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_a_server_calls_its_classes_is_text_and_never_markup(count: int) -> None:
    names = [f"<script>{place}</script>" for place in range(count)]
    shares = dict.fromkeys([*names, "NORMAL", "VIRUS"], 0.2)
    markup = card(replace(prediction(), prediction=names[0], prediction_set=names, probabilities=shares))
    assert "&lt;script&gt;0" in markup
    assert "<script" not in markup
