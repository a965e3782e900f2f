"""The page's head, as HTML: its title, which model answers, and a banner where that one was trained on phantoms."""

import html
from collections.abc import Mapping
from typing import Any

from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings


def header(say: Strings, model: Mapping[str, Any] | Problem | None, name: str = "") -> str:
    """Title, disclaimer, state of the model and banner; None: not known yet. `name` is this page's own, if any."""
    if model is None:
        state = f'<span class="state">{say.html("header.connecting")}</span>'
    elif isinstance(model, Problem):
        state = f'<span class="state lost"><span class="dot"></span>{html.escape(model.what(say))}</span>'
    else:
        label = say.html("header.model", label=label_of(model))
        state = f'<span class="state ready"><span class="dot"></span>{label}</span>'
    banner = f'<p class="synthetic-banner">{say.html("header.synthetic")}</p>' if is_synthetic(model) else ""
    place = f'<p class="place">{html.escape(name)}</p>' if name else ""
    return (
        f'<header class="top"><div>{place}<h1>{say.html("header.title")}</h1>'
        f'<p class="quiet">{say.html("disclaimer")}</p></div>{state}</header>{banner}'
    )


def is_synthetic(model: Mapping[str, Any] | Problem | None) -> bool:
    """Whether no patient's film was in the model's training data."""
    return isinstance(model, Mapping) and bool(model.get("synthetic"))


def label_of(model: Mapping[str, Any]) -> str:
    """Name and version of what `GET /model/info` describes."""
    return f"{model.get('name', '?')}:{model.get('version', '?')}"
