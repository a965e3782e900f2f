"""Compare: two films of one patient side by side, and what several models say of one film."""

import gradio as gr

from pneumonia.demo.places import View, connect, place_answer, place_box, place_intake
from pneumonia.demo.site import Frame, Place, Site, place_html

_FILMS, _MODELS = "films", "models"


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts."""
    del tab
    _two_films(site, frame)
    _several_models(site, frame)


def _two_films(site: Site, frame: Frame) -> None:
    say = site.say
    place_html(f"<h2>{say.html('compare.films')}</h2>{_link(site, _FILMS)}", "compare-films")
    with gr.Row(equal_height=False):
        for key in ("first", "second"):
            place = Place(key, site.models[0], _FILMS)
            with gr.Column(min_width=300, elem_classes="place"):
                place_html(f"<h3>{say.html(f'compare.{key}')}</h3>", f"{key}-title")
                intake = place_intake(site, key)
                connect(site, frame, intake, [_view(site, place)])


def _several_models(site: Site, frame: Frame) -> None:
    say = site.say
    place_html(f"<h2>{say.html('compare.models')}</h2>", "compare-models")
    if len(site.models) == 1:
        place_html(f'<p class="quiet">{say.html("compare.no_other")}</p>', "compare-none")
        return
    with gr.Column(elem_classes="place"):
        intake = place_intake(site, "same")
        place_html(_link(site, _MODELS), "same-link")
        with gr.Row(equal_height=False):
            views = []
            for number, model in enumerate(site.models):
                with gr.Column(min_width=300):
                    place_html(f"<h3>{say.mark_up(model.name)}</h3>", f"model{number}-title")
                    views.append(_view(site, Place(f"model{number}", model, _MODELS)))
        connect(site, frame, intake, views)


def _view(site: Site, place: Place) -> View:
    return View(place, *place_box(site, place), *place_answer(site, place))


def _link(site: Site, group: str) -> str:
    """A box to tick for viewers that follow each other; viewer.js looks at it."""
    box = f'<input type="checkbox" data-link="{group}" checked>'
    return f'<label class="link">{box}{site.say.html("compare.link")}</label>'
