"""The film viewer's markup: what `assets/viewer.js` makes zoom, turn and change its tones, in the browser alone."""

import html
import json

from pneumonia.demo.dicom_geometry import Geometry
from pneumonia.demo.film import Film, caption
from pneumonia.demo.overlay import RAMP
from pneumonia.demo.strings import Strings

_STRENGTH = 55
_EDGES = ("top", "right", "bottom", "left")

# What a button does, by the name that viewer.js knows it by, and what stands on it.
_VIEW = {"zoom-in": "+", "zoom-out": "\u2212", "actual": "1:1", "turn-left": "↺", "turn-right": "↻"}
_PAN = {"left": "←", "right": "→", "up": "↑", "down": "↓"}


def light_box(say: Strings, key: str, film: Film | None, refused: str = "", group: str = "") -> str:
    """HTML of the dark area with the film; `refused` names a file that can't be shown.

    `key` is the place's, such as `read`; viewers of one `group` can be linked.
    """
    drop = f'data-drop="{key}-upload"'
    if film is None:
        title = say.html("film.refused" if refused else "film.none")
        text = html.escape(refused) if refused else say.html("film.choose")
        return f'<div class="box empty" {drop}><p><strong>{title}</strong><br>{text}</p></div>'
    geometry = film.geometry or Geometry()
    marks = "".join(f'<span class="mark {edge}" aria-hidden="true"></span>' for edge in _EDGES)
    return (
        f'<figure class="box" {drop}><film-viewer {_attributes(say, key, film, geometry, group)}>'
        f'<div class="stage" style="--aspect:{film.width / film.height:.4f}" tabindex="0" role="application" '
        f'aria-label="{say.html("film.shown")}" aria-describedby="{key}-keys">'
        f'<canvas aria-hidden="true"></canvas>{marks}<span class="bar" aria-hidden="true" hidden></span></div>'
        f"{_tools(say)}{_help(say, key)}</film-viewer>"
        f"<figcaption>{_caption(say, film, geometry)}</figcaption></figure>"
    )


def heat(key: str, film: Film | None, layer: str | None) -> str:
    """What brings the viewer of a place the heatmap of a film, a picture as a data URI; None takes it away."""
    if film is None or not layer:
        return f'<film-heat data-for="{key}-viewer"></film-heat>'
    return f'<film-heat data-for="{key}-viewer" data-film="{film.token}" data-src="{layer}"></film-heat>'


def _attributes(say: Strings, key: str, film: Film, geometry: Geometry, group: str) -> str:
    values = {
        "src": film.picture,
        "film": film.token,
        "width": film.width,
        "height": film.height,
        "marks": json.dumps(geometry.marks),
        "spacing": json.dumps(geometry.spacing),
        "percent": say("viewer.percent", value="{value}"),  # viewer.js fills it
        "group": group,
    }
    return f'id="{key}-viewer" ' + " ".join(
        f'data-{name}="{html.escape(str(value))}"' for name, value in values.items()
    )


def _tools(say: Strings) -> str:
    buttons = "".join(_button(say, name, sign) for name, sign in {**_VIEW, **_PAN}.items())
    invert = f'<button type="button" data-do="invert" aria-pressed="false">{say.html("viewer.invert")}</button>'
    reset = f'<button type="button" data-do="reset">{say.html("viewer.reset")}</button>'
    zoom = f'<output class="zoom">{say.html("viewer.percent", value=100)}</output>'
    sliders = _slider(say, "window", 1, 255, 255) + _slider(say, "level", 0, 255, 128)
    return (
        f'<div class="tools" role="group" aria-label="{say.html("viewer.tools")}">'
        f'<div class="buttons">{buttons}{invert}{reset}{zoom}</div><div class="sliders">{sliders}</div>'
        f'<div class="heat" hidden>{_slider(say, "strength", 0, 100, _STRENGTH)}{_legend(say)}</div></div>'
    )


def _button(say: Strings, name: str, sign: str) -> str:
    label = say.html(f"viewer.{name.replace('-', '_')}")
    return f'<button type="button" data-do="{name}" aria-label="{label}" title="{label}">{sign}</button>'


def _slider(say: Strings, name: str, low: int, high: int, value: int) -> str:
    return (
        f"<label><span>{say.html(f'viewer.{name}')}</span>"
        f'<input type="range" name="{name}" min="{low}" max="{high}" value="{value}">'
        f'<span class="value" aria-hidden="true">{value}</span></label>'
    )


def _legend(say: Strings) -> str:
    """What the heatmap's colours mean."""
    colours = ", ".join(f"rgb{colour}" for colour in RAMP)
    return (
        f'<p class="legend"><span>{say.html("heatmap.less")}</span>'
        f'<span class="ramp" style="background:linear-gradient(90deg, {colours})"></span>'
        f"<span>{say.html('heatmap.more')}</span></p>"
    )


def _help(say: Strings, key: str) -> str:
    return (
        f'<details class="keys"><summary>{say.html("viewer.help")}</summary>'
        f'<p id="{key}-keys">{say.html("viewer.keys")}</p></details>'
    )


def _caption(say: Strings, film: Film, geometry: Geometry) -> str:
    """The film's file and size; from DICOM also its view, side, how it lies, and its size in centimetres."""
    parts = [caption(say, film)]
    if geometry.view:
        parts.append(say("viewer.view", view=geometry.view))
    if geometry.side in ("L", "R"):
        parts.append(say(f"viewer.side_{geometry.side}"))
    if all(geometry.marks):
        parts.append(say("viewer.marks", left=geometry.marks[3], right=geometry.marks[1]))
    if geometry.spacing:
        rows, columns = geometry.spacing
        width, height = (say.figure(f"{length / 10:.1f}") for length in (film.width * columns, film.height * rows))
        parts.append(
            say("viewer.size_at_detector" if geometry.at_detector else "viewer.size", width=width, height=height)
        )
    return "<br>".join(html.escape(part) for part in parts)
