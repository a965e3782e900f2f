"""Many films: their answers' order, how many are under way, and what happens when no one listens any more."""

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pneumonia.client import AsyncClient, Client
from pneumonia.errors import ApiError, DamagedImageError, UnsupportedImageError
from pneumonia.inference.prediction import Prediction

if TYPE_CHECKING:
    from tests.client.conftest import Face
    from tests.stand_in import Reply, StandIn

    Start = Callable[..., StandIn]
    Body = Callable[..., dict[str, Any]]

Draw = Callable[..., Image.Image]


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_answers_come_in_order_with_errors_in_their_places(
    ask: "Face", stand_in: "Start", reply: "type[Reply]", refusal: "Body", tmp_path: Path
) -> None:
    server = stand_in(
        reply(after=0.15), reply(415, refusal("unsupported_image")), reply(500, refusal("internal_error")), reply()
    )
    films = [b"a", b"b", b"c", tmp_path / "nowhere.png", b"d"]
    answers = ask(server.url, "predict_many", films, concurrency=1)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Prediction, UnsupportedImageError, ApiError, DamagedImageError, Prediction]


def test_a_slow_answer_does_not_change_the_order(ask: "Face", server: str, draw_film: Draw) -> None:
    film, large = as_png(draw_film(1, "PNEUMONIA", 110, 90)), as_png(draw_film(2, "NORMAL", 2000, 1800))
    films = [large, film, b"no film", film, large, film]
    answers = ask(server, "predict_many", films, heatmap=True, concurrency=4)
    sizes = [
        Image.open(io.BytesIO(answer.heatmap)).size if isinstance(answer, Prediction) else type(answer)
        for answer in answers
    ]
    small = (110, 90)
    assert sizes == [(2000, 1800), small, UnsupportedImageError, small, (2000, 1800), small]


def test_so_many_requests_are_under_way_as_was_said_and_no_more(
    ask: "Face", stand_in: "Start", reply: "type[Reply]"
) -> None:
    server = stand_in(reply(after=0.03))
    answers = ask(server.url, "predict_many", [b"film"] * 20, concurrency=4)
    assert (len(answers), len(server.asked)) == (20, 20)
    assert 2 <= server.most_at_once <= 4


def test_films_are_taken_as_they_are_needed(stand_in: "Start", reply: "type[Reply]") -> None:
    taken = 0

    def films() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield b"film"

    with Client(stand_in(reply()).url) as client:
        answers = client.predict_many(films(), concurrency=2)
        next(answers)
        answers.close()  # type: ignore[attr-defined]
    assert taken <= 6


@pytest.mark.parametrize("films", [[], [b"film"]])
def test_none_and_one_are_many_too(ask: "Face", stand_in: "Start", reply: "type[Reply]", films: list[bytes]) -> None:
    assert len(ask(stand_in(reply()).url, "predict_many", films)) == len(films)


def test_no_request_at_once_is_refused(ask: "Face", stand_in: "Start", reply: "type[Reply]") -> None:
    with pytest.raises(ValueError, match="concurrency"):
        ask(stand_in(reply()).url, "predict_many", [b"film"], concurrency=0)


def test_who_stops_listening_does_not_wait_for_retries(
    stand_in: "Start", reply: "type[Reply]", refusal: "Body"
) -> None:
    server = stand_in(reply(), reply(503, refusal("unavailable"), {"Retry-After": "30"}))
    began = time.monotonic()
    with Client(server.url) as client:
        answers = client.predict_many([b"film"] * 5, concurrency=1)
        next(answers)
        while len(server.asked) < 2:
            time.sleep(0.005)
        answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 10


def test_a_call_that_is_cancelled_ends_at_once(stand_in: "Start", reply: "type[Reply]", refusal: "Body") -> None:
    server = stand_in(reply(503, refusal("unavailable"), {"Retry-After": "30"}))

    async def run() -> int:
        async with AsyncClient(server.url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    [_ async for _ in client.predict_many([b"film"] * 5, concurrency=2)]
            return len(asyncio.all_tasks())

    began = time.monotonic()
    assert asyncio.run(run()) == 1
    assert time.monotonic() - began < 10
