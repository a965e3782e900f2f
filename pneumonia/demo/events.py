"""What happens to a film on the page: taken, sent, answered. The film and what is said of it always change together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from pneumonia.demo import problems
from pneumonia.demo.answer import answer_card, problem_card, waiting_card
from pneumonia.demo.examples import Example
from pneumonia.demo.film import Film, colour_layer, light_box, make_film, take_upload
from pneumonia.demo.header import header, is_synthetic
from pneumonia.demo.problems import Problem
from pneumonia.demo.site import Model, Site
from pneumonia.demo.strings import Strings
from pneumonia.errors import ImageError
from pneumonia.inference.prediction import Prediction

# Values for the outputs that are listed beside each event, in that order.
Updates = list[Any]

_NO_FRAME = [gr.skip(), gr.skip()]


class Events:
    """The events of a film's place, which ask one of the site's models.

    Each answers the film's parts, and what stands around the tabs: that follows the page's own model alone.
    """

    def __init__(self, site: Site, model: Model) -> None:
        self._site, self._say, self._client = site, site.say, model.client
        self._own = model is site.models[0]

    def ask(self, film: Film | None) -> Iterator[Updates]:
        """Send the film and show what comes back."""
        if film is None:
            yield [gr.skip()] * 6
            return
        say = self._say
        yield [*film_parts(say, film, waiting_card(say)), *_NO_FRAME]
        answer, model = self._client.predict(film.data), self._client.model_info()
        around = frame_parts(self._site, model) if self._own else _NO_FRAME
        if isinstance(answer, Prediction) and isinstance(model, Problem):
            # Whether the model is a synthetic one has to stand beside its answer.
            answer = model
        if isinstance(answer, Problem):
            card = problem_card(say, answer, film_kept=True)
            yield [*film_parts(say, film, card, retry=answer.retry), *around]
            return
        layer = colour_layer(answer.heatmap) if answer.input_check.passed else None
        card = answer_card(say, answer, is_synthetic(model), layer is not None)
        yield [*film_parts(say, film, card, layer), *around]

    def ask_again(self, film: Film | None) -> Iterator[Updates]:
        """As `ask`, for a film that may have been kept too long."""
        if film is None:
            card = problem_card(self._say, problems.FORGOTTEN, film_kept=False)
            yield [*film_parts(self._say, None, card), *_NO_FRAME]
            return
        yield from self.ask(film)


def take(say: Strings, path: str) -> tuple[Film | None, Updates]:
    """An uploaded film, or None, and the film's parts, which say why it can't be shown."""
    film = take_upload(Path(path))
    if isinstance(film, Problem):
        return None, film_parts(say, None, problem_card(say, film, film_kept=False), refused=Path(path).name)
    return film, film_parts(say, film, waiting_card(say))


def take_example(say: Strings, example: Example) -> tuple[Film | None, Updates]:
    """As `take`, for an example."""
    try:
        film = make_film(example.read(), example.name)
    except ImageError as error:
        card = problem_card(say, problems.of_image(error), film_kept=False)
        return None, film_parts(say, None, card, refused=example.name)
    return film, film_parts(say, film, waiting_card(say))


def film_parts(
    say: Strings, film: Film | None, card: str, layer: str | None = None, retry: bool = False, refused: str = ""
) -> Updates:
    """Light box, answer, the heatmap's controls, and the button to try again."""
    box = light_box(say, film, layer, refused)
    return [box, card, gr.update(visible=layer is not None), gr.update(visible=retry)]


def frame_parts(site: Site, model: dict[str, Any] | Problem | None) -> Updates:
    """The page's head, and the clock, which runs while there is no model."""
    return [header(site.say, model, site.name), gr.Timer(active=isinstance(model, Problem))]
