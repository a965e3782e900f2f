"""What happens when something is chosen on the page. The film and what is said of it always change together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from pneumonia.demo import problems
from pneumonia.demo.about import about, header, is_synthetic
from pneumonia.demo.answer import WAITING, answer_card, problem_card
from pneumonia.demo.client import ApiClient
from pneumonia.demo.film import Film, colour_layer, light_box, make_film, take_upload
from pneumonia.demo.problems import Problem
from pneumonia.inference.prediction import Prediction

# Values for the outputs that page.py lists beside each event, in that order.
Updates = list[Any]


class Events:
    """The page's events, all of which ask the API through `client`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def look(self) -> Updates:
        """Ask which model there is: header, part "About this model", and a clock that runs until there is one."""
        return _model_parts(self._client.model_info())

    def take(self, path: str) -> Updates:
        """Show an uploaded film, or why it can't be: the film, an empty upload field, and the film's parts."""
        film = take_upload(Path(path))
        if isinstance(film, Problem):
            return [None, None, *_parts(None, problem_card(film, film_kept=False), refused=Path(path).name)]
        return [film, None, *_parts(film, WAITING)]

    def ask(self, film: Film | None) -> Iterator[Updates]:
        """Send the film and show what comes back: the film's parts, then the model's as `look` has them."""
        if film is None:
            yield [gr.skip()] * 7
            return
        yield [*_parts(film, WAITING), *[gr.skip()] * 3]
        answer, model = self._client.predict(film.data), self._client.model_info()
        told = _model_parts(model)
        if isinstance(answer, Prediction) and isinstance(model, Problem):
            # Whether the model is a synthetic one has to stand beside its answer.
            answer = model
        if isinstance(answer, Problem):
            yield [*_parts(film, problem_card(answer, film_kept=True), retry=answer.retry), *told]
            return
        layer = colour_layer(answer.heatmap) if answer.input_check.passed else None
        yield [*_parts(film, answer_card(answer, is_synthetic(model), layer is not None), layer), *told]

    def ask_again(self, film: Film | None) -> Iterator[Updates]:
        """As `ask`, for a film that may have been kept too long."""
        if film is None:
            yield [*_parts(None, problem_card(problems.FORGOTTEN, film_kept=False)), *[gr.skip()] * 3]
            return
        yield from self.ask(film)


def show_example(name: str, png: bytes) -> Updates:
    """The film, and the film's parts, of a picture that the page drew itself."""
    film = make_film(png, name)
    return [film, *_parts(film, WAITING)]


def _parts(film: Film | None, card: str, layer: str | None = None, retry: bool = False, refused: str = "") -> Updates:
    """Light box, answer, the heatmap's controls, and the button to try again."""
    return [light_box(film, layer, refused), card, gr.update(visible=layer is not None), gr.update(visible=retry)]


def _model_parts(model: dict[str, Any] | Problem) -> Updates:
    """Header, part "About this model", and the clock, which runs while there is none."""
    return [header(model), about(model), gr.Timer(active=isinstance(model, Problem))]
