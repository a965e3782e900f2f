"""What happens to a film on the page: taken, sent, answered. The film and what is said of it always change together."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from pneumonia.demo import problems
from pneumonia.demo.answer import answer_card, problem_card, waiting_card
from pneumonia.demo.examples import Example
from pneumonia.demo.film import Film, colour_layer, make_film
from pneumonia.demo.header import header, is_synthetic
from pneumonia.demo.problems import Problem
from pneumonia.demo.site import Place, Site
from pneumonia.demo.strings import Strings
from pneumonia.demo.viewer import heat, light_box
from pneumonia.errors import ImageError
from pneumonia.inference.prediction import Prediction

# Values for the outputs that are listed beside each event, in that order.
Updates = list[Any]

_NO_FRAME = [gr.skip(), gr.skip()]


class Events:
    """The events of one place, which ask its model.

    Each answers the place's parts, and what stands around the tabs: that follows the page's own model alone.
    """

    def __init__(self, site: Site, place: Place) -> None:
        self._site, self._say, self._place = site, site.say, place

    def ask(self, film: Film | None) -> Iterator[Updates]:
        """Send the film and show what comes back; the film itself stays as it is."""
        if film is None:
            yield [gr.skip()] * 6
            return
        say, place, client = self._say, self._place, self._place.model.client
        yield [*answer_parts(place, film, waiting_card(say)), *_NO_FRAME]
        answer, model = client.predict(film.data), client.model_info()
        around = frame_parts(self._site, model) if place.model is self._site.models[0] else _NO_FRAME
        if isinstance(answer, Prediction) and isinstance(model, Problem):
            # Whether the model is a synthetic one has to stand beside its answer.
            answer = model
        if isinstance(answer, Problem):
            card = problem_card(say, answer, film_kept=True)
            yield [*answer_parts(place, film, card, retry=answer.retry), *around]
            return
        layer = colour_layer(answer.heatmap) if answer.input_check.passed else None
        card = answer_card(say, answer, is_synthetic(model), layer is not None)
        yield [*answer_parts(place, film, card, layer), *around]

    def ask_again(self, film: Film | None) -> Iterator[Updates]:
        """As `ask`, for a film that may have been kept too long."""
        if film is None:
            card = problem_card(self._say, problems.FORGOTTEN, film_kept=False)
            yield [*film_parts(self._say, self._place, None, card), *_NO_FRAME]
            return
        yield from self.ask(film)

    def show(self, film: Film | Problem, name: str) -> Updates:
        """A film that came in, or under its file's name why it can't be shown."""
        if isinstance(film, Problem):
            return film_parts(self._say, self._place, None, problem_card(self._say, film, film_kept=False), name)
        return film_parts(self._say, self._place, film, waiting_card(self._say))


def read_example(example: Example) -> Film | Problem:
    """The film of an example."""
    try:
        return make_film(example.read(), example.name)
    except ImageError as error:
        return problems.of_image(error)


def film_parts(say: Strings, place: Place, film: Film | None, card: str, refused: str = "") -> Updates:
    """Light box, heatmap, answer, and the button to try again."""
    box = light_box(say, place.key, film, refused, place.group)
    return [box, *answer_parts(place, film, card)[1:]]


def answer_parts(place: Place, film: Film | None, card: str, layer: str | None = None, retry: bool = False) -> Updates:
    """As `film_parts`, for a film that is shown already."""
    return [gr.skip(), heat(place.key, film, layer), card, gr.update(visible=retry)]


def frame_parts(site: Site, model: dict[str, Any] | Problem | None) -> Updates:
    """The page's head, and the clock, which runs while there is no model."""
    return [header(site.say, model, site.name), gr.Timer(active=isinstance(model, Problem))]
