"""What the client makes of cards, validation answers and metrics."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pneumonia.client import Cards, Validation
from pneumonia.client.descriptions import read_cards, read_metrics, read_validation
from pneumonia.errors import ApiError

ANSWERS = {"labels": [0, 1], "probabilities": [0.25, 1], "model": "cnn:1"}


def test_cards_are_markdown_and_may_be_missing() -> None:
    assert read_cards(httpx.Response(200, json={"model_card": "# Card", "data_card": None})) == Cards("# Card", "")


def test_validation_answers_are_labels_and_probabilities() -> None:
    assert read_validation(httpx.Response(200, json=ANSWERS)) == Validation((0, 1), (0.25, 1.0), "cnn:1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": [0]},
        {"labels": [0, 2]},
        {"labels": None},
        {"probabilities": [0.5, 1.5]},
        {"probabilities": [0.5, "much"]},
        {"probabilities": [0.5, float("nan")]},
    ],
)
def test_what_is_no_list_of_answers_is_another_servers(wrong: dict[str, Any]) -> None:
    text = json.dumps({**ANSWERS, **wrong})
    with pytest.raises(ApiError, match="not one of the API"):
        read_validation(httpx.Response(200, text=text, headers={"content-type": "application/json"}))


def test_a_card_that_is_no_text_is_another_servers() -> None:
    with pytest.raises(ApiError, match="not one of the API"):
        read_cards(httpx.Response(200, json={"model_card": 7}))


def test_metrics_are_plain_text() -> None:
    assert read_metrics(httpx.Response(200, text="a 1\n")) == "a 1\n"
    with pytest.raises(ApiError, match="not one of the API"):
        read_metrics(httpx.Response(200, html="<p>"))


@pytest.mark.parametrize("read", [read_cards, read_validation, read_metrics])
def test_a_refusal_keeps_its_code(read: Callable[[httpx.Response], object], refusal: Any) -> None:
    with pytest.raises(ApiError) as caught:
        read(httpx.Response(404, json=refusal("not_found")))
    assert (caught.value.code, caught.value.status) == ("not_found", 404)
