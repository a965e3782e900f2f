"""Explore the operating point: what another threshold would mean, for as many people with pneumonia as there are."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pneumonia.client import Validation
from pneumonia.demo.answer import problem_note
from pneumonia.demo.exploring import of_people, point_at, predictive
from pneumonia.demo.people import explored
from pneumonia.demo.problems import Problem
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html

_PREVALENCE = 20  # percent, before the visitor sets another

Updates = list[Any]


@dataclass(frozen=True)
class _Held:
    """What one visitor explores: the bundle's answers, and its own threshold."""

    validation: Validation
    threshold: float


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts; the model is asked for its answers whenever the tab is opened."""
    del frame
    say = site.say
    place_html(f"<p>{say.html('explore.intro')}</p>", "explore-intro")
    held = gr.State(None)
    with gr.Row():
        threshold = gr.Slider(
            0, 100, 50, step=0.1, label=say("explore.threshold"), elem_id="explore-threshold", buttons=[]
        )
        prevalence = gr.Slider(
            0, 100, _PREVALENCE, step=0.5, label=say("explore.prevalence"), elem_id="explore-prevalence", buttons=[]
        )
    own = gr.Button(say("explore.reset"), size="sm", elem_id="explore-own")
    figures = place_html("", "explored")

    def open_tab(before: _Held | None, percent: float, share: float) -> Updates:
        found = _ask(site)
        if isinstance(found, Problem):
            return [None, gr.skip(), problem_note(say, found)]
        # Another bundle's threshold is another: what was set for the one before it says nothing.
        kept = before is not None and before.validation.model == found.validation.model
        shown = percent if kept else round(100 * found.threshold, 1)
        return [found, shown, _explored(site, found, shown, share)]

    def show(now: _Held | None, percent: float, share: float) -> Any:
        return gr.skip() if now is None else _explored(site, now, percent, share)

    def back(now: _Held | None, share: float) -> Updates:
        if now is None:
            return [gr.skip(), gr.skip()]
        shown = round(100 * now.threshold, 1)
        return [shown, _explored(site, now, shown, share)]

    tab.select(
        open_tab, [held, threshold, prevalence], [held, threshold, figures], concurrency_limit=ASKS_AT_A_TIME, **QUIET
    )
    moved: dict[str, Any] = {"trigger_mode": "always_last", "concurrency_limit": ASKS_AT_A_TIME, **QUIET}
    gr.on([threshold.input, prevalence.input], show, [held, threshold, prevalence], figures, **moved)
    own.click(back, [held, prevalence], [threshold, figures], **QUIET)


def _ask(site: Site) -> _Held | Problem:
    model = site.client.model_info()
    if isinstance(model, Problem):
        return model
    validation = site.client.validation()
    if isinstance(validation, Problem):
        return validation
    return _Held(validation, float(model["operating_point"]["threshold"]))


def _explored(site: Site, held: _Held, percent: float, share: float) -> str:
    # The bundle's own threshold has more digits than the slider.
    own = round(100 * held.threshold, 1)
    threshold = held.threshold if percent == own else percent / 100
    point = point_at(held.validation.labels, held.validation.probabilities, threshold)
    prevalence = share / 100
    return explored(site.say, point, predictive(point, prevalence), of_people(point, prevalence), held.threshold)
