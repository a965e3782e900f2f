"""Read one film: the film, large; what the model says of it; and where the evidence lies."""

import gradio as gr

from pneumonia.demo.places import View, connect, place_answer, place_box, place_intake
from pneumonia.demo.site import Frame, Place, Site


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts."""
    del tab
    place = Place("read", site.models[0])
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=300):
            box, layer = place_box(site, place)
        with gr.Column(scale=4, min_width=300):
            intake = place_intake(site, place.key)
            card, retry = place_answer(site, place)
    connect(site, frame, intake, [View(place, box, layer, card, retry)])
