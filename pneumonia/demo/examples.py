"""Films to try the page with: synthetic phantoms, where the package can draw them. None is of a person."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pneumonia.data.phantom_film import Pathogen

# What is drawn, and the pathogen that the phantoms' generator knows it by.
KINDS: dict[str, "Pathogen"] = {"Clear lungs": "", "Consolidation": "bacteria", "Interstitial pattern": "virus"}

_SIDE = 768
_SEED = 7


def phantom_drawer() -> Callable[[str], bytes] | None:
    """A function from a kind to the bytes of a PNG, always the same for a kind; None where phantoms can't be drawn."""
    try:
        import numpy as np
        from PIL import Image

        from pneumonia.data.phantom_film import render_phantom
    except ImportError:
        return None

    def draw(kind: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(render_phantom(np.random.default_rng(_SEED), KINDS[kind], _SIDE)).save(buffer, format="PNG")
        return buffer.getvalue()

    return draw
