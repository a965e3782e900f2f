"""The page's words: what it says of a prediction and of a problem."""

import html
import re

import pytest

from pneumonia import DISCLAIMER
from pneumonia.demo.answer import answer_card, percents, probability_bar, problem_card, words_of
from pneumonia.demo.problems import DOWN, Problem
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction


def prediction(probability: float = 0.9, threshold: float = 0.4, reasons: tuple[str, ...] = ()) -> Prediction:
    index = int(probability >= threshold)
    return Prediction(
        prediction=("NORMAL", "PNEUMONIA")[index],
        class_index=index,
        probability=probability,
        threshold=threshold,
        abstained=bool(reasons),
        input_check=InputCheck(not reasons, list(reasons)),
        model="cnn:0123456789ab",
    )


def card(answer: Prediction, synthetic: bool = False, heatmap: bool = True) -> str:
    return answer_card(answer, synthetic, heatmap)


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


@pytest.mark.parametrize("answer", [prediction(0.9), prediction(0.1), prediction(reasons=("It is blank.",))])
def test_every_decision_carries_disclaimer_and_model(answer: Prediction) -> None:
    text = text_of(card(answer))
    assert DISCLAIMER in text
    assert answer.model in text


def test_an_abstention_says_why_and_shows_no_decision() -> None:
    text = text_of(card(prediction(0.9, reasons=("The image is blank or nearly so.",))))
    assert "abstains" in text
    assert "The image is blank or nearly so." in text
    assert "Pneumonia" not in text
    assert "%" not in text


def test_an_input_check_that_passed_is_said_to_have() -> None:
    assert "Input check passed." in text_of(card(prediction()))


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
    assert DOWN.what in text
    assert "Try again" in text
    assert "Your film is kept." in text


def test_a_film_is_said_to_be_kept_only_where_it_can_be_sent_again() -> None:
    final = Problem("It is no film.", "Choose another.", retry=False)
    assert "kept" not in problem_card(final, film_kept=True)
    assert "kept" not in problem_card(DOWN, film_kept=False)


def test_what_a_server_says_is_text_and_never_markup() -> None:
    hostile = "<script>alert(1)</script>"
    markup = problem_card(Problem(hostile, hostile), film_kept=True) + card(prediction(reasons=(hostile,)))
    assert "<script" not in markup
