"""Read one film: the film, large; what the model says of it; and where the evidence lies."""

import gradio as gr

from pneumonia.demo.places import View, connect, place_answer, place_box, place_intake
from pneumonia.demo.site import Frame, Site


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts."""
    del tab
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=300):
            box, controls = place_box(site.say, "read")
        with gr.Column(scale=4, min_width=300):
            intake = place_intake(site, "read")
            card, retry = place_answer(site.say, "read")
    connect(site, frame, intake, [View(site.models[0], box, card, controls, retry)])
