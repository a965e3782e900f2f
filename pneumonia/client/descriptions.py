"""What the server says of its bundle and of itself, read as values: cards, validation answers, metrics."""

from dataclasses import dataclass
from typing import Any

import httpx

from pneumonia.client.answers import content_of_ok, unexpected

_LONGEST_CARD = 1_000_000


@dataclass(frozen=True)
class Cards:
    """The model card and the data card as Markdown; empty where the bundle has none."""

    model: str = ""
    data: str = ""


@dataclass(frozen=True)
class Validation:
    """A bundle's answers for n films of patients whom its training did not see.

    `labels` (n,) are 1 for pneumonia and 0 for normal; `probabilities` (n,) are of pneumonia, calibrated, in [0, 1];
    `model` is `name:version`.
    """

    labels: tuple[int, ...]
    probabilities: tuple[float, ...]
    model: str


def read_cards(response: httpx.Response) -> Cards:
    """The bundle's cards. Raises `ApiError`."""
    content = content_of_ok(response)
    try:
        return Cards(*(_card(content.get(name)) for name in ("model_card", "data_card")))
    except TypeError as error:
        raise unexpected(response) from error


def read_validation(response: httpx.Response) -> Validation:
    """The bundle's answers for its held-out films. Raises `ApiError`, of status 404 where it does not hold them."""
    content = content_of_ok(response)
    try:
        labels = tuple({0: 0, 1: 1}[label] for label in content["labels"])
        probabilities = tuple(map(float, content["probabilities"]))
        if len(labels) != len(probabilities) or not all(0 <= value <= 1 for value in probabilities):
            raise ValueError("no probability for each label")
        return Validation(labels, probabilities, str(content["model"])[:200])
    except (KeyError, TypeError, ValueError) as error:
        raise unexpected(response) from error


def read_metrics(response: httpx.Response) -> str:
    """Prometheus text. Raises `ApiError`."""
    if response.status_code != 200:
        content_of_ok(response)
    if not response.headers.get("content-type", "").startswith(("text/plain", "application/openmetrics-text")):
        raise unexpected(response)
    return response.text


def _card(text: Any) -> str:
    if text is not None and not isinstance(text, str):
        raise TypeError("a card is text")
    return (text or "")[:_LONGEST_CARD]
