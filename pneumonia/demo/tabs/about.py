"""About this model: what its server says of it."""

import gradio as gr

from pneumonia.demo.about import about
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts; they are asked for anew whenever the tab is opened."""
    del frame
    details = place_html(about(site.say, None), "about")

    def describe() -> str:
        return about(site.say, site.client.model_info())

    tab.select(describe, None, details, concurrency_limit=ASKS_AT_A_TIME, **QUIET)
