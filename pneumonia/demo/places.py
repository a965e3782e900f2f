"""The place of a film on a tab: light box, upload field, examples, answer, and the events that join them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from pneumonia.demo.answer import idle_card
from pneumonia.demo.events import Events, Updates, read_example
from pneumonia.demo.examples import Example
from pneumonia.demo.film import Film, take_upload
from pneumonia.demo.problems import Problem
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Place, Site, place_html
from pneumonia.demo.viewer import heat, light_box

_SECONDS_TO_KEEP_A_FILM = 1800
_UPLOADS_AT_A_TIME = 8


@dataclass(frozen=True)
class View:
    """A place's light box, and the answer of its model about the film in it."""

    place: Place
    box: gr.HTML
    layer: gr.HTML
    card: gr.HTML
    retry: gr.Button

    @property
    def parts(self) -> list[Any]:
        """In the order of `events.film_parts`."""
        return [self.box, self.layer, self.card, self.retry]


@dataclass(frozen=True)
class Intake:
    """Where a film comes in: a field for a file, and a button for each example."""

    upload: gr.File
    examples: Sequence[tuple[gr.Button, Example]]


def place_box(site: Site, place: Place) -> tuple[gr.HTML, gr.HTML]:
    """The light box, and what will bring it a heatmap."""
    box = place_html(light_box(site.say, place.key, None), f"{place.key}-box")
    return box, place_html(heat(place.key, None, None), f"{place.key}-layer")


def place_answer(site: Site, place: Place) -> tuple[gr.HTML, gr.Button]:
    """The answer, and the button to try again, which is hidden until that can help."""
    card = place_html(idle_card(site.say), f"{place.key}-answer")
    label = site.say("answer.retry")
    return card, gr.Button(label, variant="primary", visible=False, elem_id=f"{place.key}-retry")


def place_intake(site: Site, key: str) -> Intake:
    """The field for a file and the examples."""
    say = site.say
    upload = gr.File(label=say("film.upload"), height=110, elem_id=f"{key}-upload", elem_classes="upload")
    if not site.examples:
        return Intake(upload, [])
    with gr.Row(elem_id=f"{key}-examples", elem_classes="examples"):
        place_html(f'<p class="quiet">{say.html("film.examples")}</p>', f"{key}-examples-label")
        buttons = [(gr.Button(example.label, size="sm", min_width=100), example) for example in site.examples]
    return Intake(upload, buttons)


def connect(site: Site, frame: Frame, intake: Intake, views: Sequence[View]) -> gr.State:
    """Let a film that comes in be shown in each view and answered by its model; the state that holds the film."""
    film = gr.State(None, time_to_live=_SECONDS_TO_KEEP_A_FILM)
    shown = [part for view in views for part in view.parts]
    events = [Events(site, view.place) for view in views]
    asks: dict[str, Any] = {"concurrency_limit": ASKS_AT_A_TIME, "trigger_mode": "multiple", **QUIET}
    asked: list[Any] = []
    for view, of_view in zip(views, events, strict=True):
        parts = [*view.parts, frame.top, frame.clock]
        asked.append(film.change(of_view.ask, film, parts, **asks))
        asked.append(view.retry.click(of_view.ask_again, film, parts, **asks))

    def show(taken: Film | Problem, name: str) -> Updates:
        parts = [part for of_view in events for part in of_view.show(taken, name)]
        return [taken if isinstance(taken, Film) else None, *parts]

    def take(path: str) -> Updates:
        state, *parts = show(take_upload(Path(path)), Path(path).name)
        return [state, None, *parts]

    def take_example(example: Example) -> Updates:
        return show(read_example(example), example.name)

    # The answer for a film that is no longer shown is not waited for.
    into: dict[str, Any] = {"cancels": asked, "concurrency_limit": _UPLOADS_AT_A_TIME, **QUIET}
    intake.upload.upload(take, intake.upload, [film, intake.upload, *shown], **into)
    for button, example in intake.examples:
        button.click(partial(take_example, example), None, [film, *shown], **into)
    return film
