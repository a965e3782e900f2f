"""The place of a film on a tab: light box, upload field, examples, answer, and the events that join them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from pneumonia.demo.answer import idle_card
from pneumonia.demo.events import Events, Updates, take, take_example
from pneumonia.demo.film import Film, light_box
from pneumonia.demo.overlay import RAMP
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Model, Site, place_html
from pneumonia.demo.strings import Strings

_SECONDS_TO_KEEP_A_FILM = 1800
_UPLOADS_AT_A_TIME = 8
_STRENGTH = 55
_SET_STRENGTH = "(value) => { document.documentElement.style.setProperty('--heat', value / 100); }"


@dataclass(frozen=True)
class View:
    """A light box and the answer of one model about the film in it."""

    model: Model
    box: gr.HTML
    card: gr.HTML
    controls: gr.Column
    retry: gr.Button

    @property
    def parts(self) -> list[Any]:
        """In the order of `events.film_parts`."""
        return [self.box, self.card, self.controls, self.retry]


@dataclass(frozen=True)
class Intake:
    """Where a film comes in: a field for a file, and a button for each example."""

    upload: gr.File
    examples: Sequence[tuple[gr.Button, Callable[[], tuple[Film | None, Updates]]]]


def place_box(say: Strings, key: str) -> tuple[gr.HTML, gr.Column]:
    """The light box, and below it the heatmap's controls, which are hidden until there is one."""
    box = place_html(light_box(say, None), f"{key}-box")
    with gr.Column(visible=False, elem_id=f"{key}-heatmap", elem_classes="heatmap") as controls:
        strength = gr.Slider(
            0, 100, _STRENGTH, step=1, label=say("heatmap.strength"), elem_id=f"{key}-strength", buttons=[]
        )
        place_html(_legend(say), f"{key}-legend")
    strength.input(None, strength, None, js=_SET_STRENGTH, **QUIET)
    return box, controls


def place_answer(say: Strings, key: str) -> tuple[gr.HTML, gr.Button]:
    """The answer, and the button to try again, which is hidden until that can help."""
    card = place_html(idle_card(say), f"{key}-answer")
    retry = gr.Button(say("answer.retry"), variant="primary", visible=False, elem_id=f"{key}-retry")
    return card, retry


def place_intake(site: Site, key: str) -> Intake:
    """The field for a file and the examples."""
    say = site.say
    upload = gr.File(label=say("film.upload"), height=110, elem_id=f"{key}-upload", elem_classes="upload")
    if not site.examples:
        return Intake(upload, [])
    with gr.Row(elem_id=f"{key}-examples", elem_classes="examples"):
        place_html(f'<p class="quiet">{say.html("film.examples")}</p>', f"{key}-examples-label")
        buttons = [
            (gr.Button(example.label, size="sm", min_width=100), partial(take_example, say, example))
            for example in site.examples
        ]
    return Intake(upload, buttons)


def connect(site: Site, frame: Frame, intake: Intake, views: Sequence[View]) -> gr.State:
    """Let a film that comes in be shown in each view and answered by its model; the state that holds the film."""
    film = gr.State(None, time_to_live=_SECONDS_TO_KEEP_A_FILM)
    shown = [part for view in views for part in view.parts]
    asks: dict[str, Any] = {"concurrency_limit": ASKS_AT_A_TIME, "trigger_mode": "multiple", **QUIET}
    asked: list[Any] = []
    for view in views:
        events, parts = Events(site, view.model), [*view.parts, frame.top, frame.clock]
        asked.append(film.change(events.ask, film, parts, **asks))
        asked.append(view.retry.click(events.ask_again, film, parts, **asks))

    def upload(path: str) -> Updates:
        taken, parts = take(site.say, path)
        return [taken, None, *parts * len(views)]

    def example(read: Callable[[], tuple[Film | None, Updates]]) -> Updates:
        taken, parts = read()
        return [taken, *parts * len(views)]

    # The answer for a film that is no longer shown is not waited for.
    into: dict[str, Any] = {"cancels": asked, "concurrency_limit": _UPLOADS_AT_A_TIME, **QUIET}
    intake.upload.upload(upload, intake.upload, [film, intake.upload, *shown], **into)
    for button, read in intake.examples:
        button.click(partial(example, read), None, [film, *shown], **into)
    return film


def _legend(say: Strings) -> str:
    """What the heatmap's colours mean."""
    colours = ", ".join(f"rgb{colour}" for colour in RAMP)
    return (
        f'<div class="legend quiet"><span>{say.html("heatmap.less")}</span>'
        f'<span class="ramp" style="background:linear-gradient(90deg, {colours})"></span>'
        f"<span>{say.html('heatmap.more')}</span></div>"
    )
