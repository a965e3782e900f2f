"""Films to try the page with: synthetic phantoms, where the package can draw them, and the films of a folder."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pneumonia.demo.strings import Strings
from pneumonia.errors import ConfigError
from pneumonia.images import DEFAULT_LIMITS, IMAGE_SUFFIXES, read_bytes

if TYPE_CHECKING:
    from pneumonia.data.phantom_film import Pathogen

# What is drawn, and the pathogen that the phantoms' generator knows it by.
KINDS: dict[str, "Pathogen"] = {"clear": "", "consolidation": "bacteria", "interstitial": "virus"}
# Of a folder: more buttons than these are no choice any more.
MOST = 12

_SIDE = 768
_SEED = 7


@dataclass(frozen=True)
class Example:
    """`label` stands on its button, `name` under the film; `read` gives the file's bytes or raises `ImageError`."""

    label: str
    name: str
    read: Callable[[], bytes]


def phantoms(say: Strings) -> tuple[Example, ...]:
    """A synthetic film of each kind, always the same; none where phantoms can't be drawn."""
    try:
        from pneumonia.data.phantom_film import render_phantom  # noqa: F401
    except ImportError:
        return ()
    labels = {kind: say(f"kinds.{kind}") for kind in KINDS}
    return tuple(
        Example(label, say("film.example", kind=label), partial(draw_phantom, kind)) for kind, label in labels.items()
    )


def films_of(folder: Path) -> tuple[Example, ...]:
    """The first films of a folder by name, at most `MOST`. Raises `ConfigError` for a folder that has none."""
    if not folder.is_dir():
        raise ConfigError(f"The folder of examples {folder} is not there; --examples takes a folder of films.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise ConfigError(f"There is no film in {folder}: JPEG, PNG, TIFF, WebP or DICOM, by the file's ending.")
    return tuple(Example(path.stem, path.name, partial(read_bytes, path, DEFAULT_LIMITS)) for path in paths[:MOST])


def draw_phantom(kind: str) -> bytes:
    """A synthetic film as the bytes of a PNG, always the same for a kind of `KINDS`."""
    import numpy as np
    from PIL import Image

    from pneumonia.data.phantom_film import render_phantom

    buffer = io.BytesIO()
    Image.fromarray(render_phantom(np.random.default_rng(_SEED), KINDS[kind], _SIDE)).save(buffer, format="PNG")
    return buffer.getvalue()
