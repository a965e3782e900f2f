"""The page: what stands where, and which event changes what."""

from functools import partial
from typing import Any

import gradio as gr

from pneumonia.demo.about import about, header
from pneumonia.demo.answer import IDLE
from pneumonia.demo.client import ApiClient
from pneumonia.demo.events import Events, show_example
from pneumonia.demo.examples import KINDS, phantom_drawer
from pneumonia.demo.film import light_box
from pneumonia.demo.overlay import RAMP

TITLE = "Chest X-ray: normal or pneumonia?"

_STRENGTH = 55
_SECONDS_BETWEEN_LOOKS = 3.0
_SECONDS_TO_KEEP_A_FILM = 1800

_SET_STRENGTH = "(value) => { document.documentElement.style.setProperty('--heat', value / 100); }"
# A region that is announced has to be there before what is announced in it.
_ANNOUNCE = "() => { document.querySelector('#answer .html-container')?.setAttribute('aria-live', 'polite'); }"


def build_page(client: ApiClient) -> gr.Blocks:
    """The page, ready to launch."""
    events = Events(client)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # An upload that was broken off is removed after five minutes; one that arrived, as soon as it is read.
    page = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, 300))
    with page:
        film = gr.State(None, time_to_live=_SECONDS_TO_KEEP_A_FILM)
        clock = gr.Timer(_SECONDS_BETWEEN_LOOKS)
        top = _html(header(None), "top")
        with gr.Row(equal_height=False):
            with gr.Column(scale=7, min_width=300):
                box = _html(light_box(None), "box")
                with gr.Column(visible=False, elem_id="heatmap") as controls:
                    strength = gr.Slider(
                        0, 100, _STRENGTH, step=1, label="Heatmap strength (%)", elem_id="strength", buttons=[]
                    )
                    _html(_legend(), "legend")
            with gr.Column(scale=4, min_width=300):
                upload = gr.File(label="Film: JPEG, PNG, TIFF, WebP or DICOM", height=110, elem_id="upload")
                examples = _example_buttons()
                card = _html(IDLE, "answer")
                retry = gr.Button("Try again", variant="primary", visible=False, elem_id="retry")
        with gr.Accordion("About this model", open=False):
            details = _html(about(None), "about")

        film_parts, model_parts = [box, card, controls, retry], [top, details, clock]
        asks: dict[str, Any] = {"concurrency_limit": 16, "trigger_mode": "multiple", **quiet}
        asked: list[Any] = [
            film.change(events.ask, film, film_parts + model_parts, **asks),
            retry.click(events.ask_again, film, film_parts + model_parts, **asks),
        ]
        # The answer for a film that is no longer shown is not waited for.
        upload.upload(events.take, upload, [film, upload, *film_parts], cancels=asked, concurrency_limit=8, **quiet)
        for button, show in examples:
            button.click(show, None, [film, *film_parts], cancels=asked, **quiet)
        strength.input(None, strength, None, js=_SET_STRENGTH, **quiet)
        page.load(None, js=_ANNOUNCE, api_visibility="private")
        gr.on([page.load, clock.tick], events.look, None, model_parts, concurrency_limit=16, **quiet)
    return page


def _html(content: str, name: str) -> gr.HTML:
    return gr.HTML(content, elem_id=name, apply_default_css=False, js_on_load=None)


def _example_buttons() -> list[tuple[gr.Button, Any]]:
    """A button for each kind of phantom, with the function it calls; none where phantoms can't be drawn."""
    draw = phantom_drawer()
    if draw is None:
        return []
    with gr.Row(elem_id="examples"):
        _html('<p class="quiet">Or a synthetic film, drawn from numbers alone:</p>', "examples-label")
        return [(gr.Button(kind, size="sm", min_width=100), partial(_show_phantom, draw, kind)) for kind in KINDS]


def _show_phantom(draw: Any, kind: str) -> list[Any]:
    return show_example(f"Synthetic film, {kind.lower()}", draw(kind))


def _legend() -> str:
    """What the heatmap's colours mean."""
    colours = ", ".join(f"rgb{colour}" for colour in RAMP)
    return (
        '<div class="legend quiet"><span>less</span>'
        f'<span class="ramp" style="background:linear-gradient(90deg, {colours})"></span>'
        "<span>more evidence for pneumonia, relative to the strongest in this film</span></div>"
    )
