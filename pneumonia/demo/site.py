"""What a page is made of: its language, the models it asks, its examples, and what every tab shares."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pneumonia.demo.client import ApiClient
from pneumonia.demo.examples import Example
from pneumonia.demo.strings import Strings

# For events that show their own progress, and are no part of an API.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Of each event that asks a model: sessions beyond these wait for their turn.
ASKS_AT_A_TIME = 16


@dataclass(frozen=True)
class Model:
    """An API that the page asks, by the name that the page has for it."""

    name: str
    client: ApiClient


@dataclass(frozen=True)
class Site:
    """What a page is made of: the first of `models` is its own, the others are compared with it."""

    say: Strings
    models: tuple[Model, ...]
    examples: tuple[Example, ...] = ()
    name: str = ""

    @property
    def client(self) -> ApiClient:
        """Of the page's own model."""
        return self.models[0].client


@dataclass(frozen=True)
class Place:
    """Where a film is shown and a model says what it is: ids on the page begin with `key`.

    The viewers of one `group` show the same part of their films, where the visitor wants that.
    """

    key: str
    model: Model
    group: str = ""


@dataclass(frozen=True)
class Frame:
    """What stands around the tabs and changes with what the model's server answers.

    `top` is the page's head; `clock` ticks while the model can't be reached; `page` loads once for each visitor.
    """

    page: gr.Blocks
    top: gr.HTML
    clock: gr.Timer


def place_html(content: str, name: str) -> gr.HTML:
    """HTML of our own under an id; what is filled into it has been escaped."""
    return gr.HTML(content, elem_id=name, apply_default_css=False, js_on_load=None)
