"""About this model: its figures, known failures, plots and cards, as its server gives them."""

import functools
from typing import Any

import gradio as gr

from pneumonia.client import Validation
from pneumonia.demo.about import about
from pneumonia.demo.problems import Problem
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html
from pneumonia.evaluation.plots import calibration_plot, roc_plot

Updates = list[Any]


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts; they are asked for anew whenever the tab is opened."""
    del frame
    say = site.say
    details = place_html(about(say, None), "about")
    plots = place_html("", "about-plots")
    with gr.Accordion(say("cards.model"), open=False, elem_id="about-model-card"):
        model_card = gr.Markdown("", elem_classes="document")
    with gr.Accordion(say("cards.data"), open=False, elem_id="about-data-card"):
        data_card = gr.Markdown("", elem_classes="document")

    def describe() -> Updates:
        model = site.client.model_info()
        if isinstance(model, Problem):
            return [about(say, model), "", "", ""]
        validation, cards = site.client.validation(), site.client.cards()
        drawn = "" if isinstance(validation, Problem) else _plots(site, validation)
        texts = ["", ""] if isinstance(cards, Problem) else [cards.model, cards.data]
        return [about(say, model), drawn, *(text or say("cards.none") for text in texts)]

    shown = [details, plots, model_card, data_card]
    tab.select(describe, None, shown, concurrency_limit=ASKS_AT_A_TIME, **QUIET)


def _plots(site: Site, validation: Validation) -> str:
    figures = "".join(
        f"<figure><figcaption>{site.say.html(f'cards.{name}')}</figcaption>{svg}</figure>"
        for name, svg in zip(("roc", "calibration"), _drawn(validation), strict=True)
    )
    return f'<section class="plots"><h3>{site.say.html("cards.plots")}</h3><div>{figures}</div></section>'


@functools.lru_cache(maxsize=4)
def _drawn(validation: Validation) -> tuple[str, str]:
    """Both plots as SVG, their letters in English; drawn once for a bundle, which takes a moment."""
    labels, probabilities = validation.labels, validation.probabilities
    return roc_plot(labels, probabilities), calibration_plot(labels, probabilities)
