"""The films that servers are asked about: real ones of a data tree, or phantoms of the same sizes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pneumonia.data.phantom_film import Pathogen, render_phantom

_FULL_SIZE = (1776, 1416)
_SMALL = (224, 224)
_FILMS = 16
_PATHOGENS: tuple[Pathogen, ...] = ("", "bacteria", "virus")
_SAMPLE = 64


def full_size_films(data: Path) -> list[bytes]:
    """The 16 originals in `val`. Where there is no tree, or it is one of phantoms: phantoms enlarged to that size."""
    return _of(data / "val", _FILMS) or _phantoms(_FULL_SIZE)


def small_films(data: Path) -> list[bytes]:
    """Some of `train`, never of `test`: those copies are 224 px a side."""
    return _of(data / "train", _SAMPLE) or _phantoms(_SMALL)


def png_of(film: bytes) -> bytes:
    """The same film as PNG."""
    file = io.BytesIO()
    Image.open(io.BytesIO(film)).convert("L").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _of(folder: Path, most: int) -> list[bytes]:
    paths = sorted(folder.rglob("*.jpeg"))
    return [path.read_bytes() for path in paths[:: max(1, len(paths) // most)][:most]]


def _phantoms(size: tuple[int, int]) -> list[bytes]:
    films = []
    for seed in range(_FILMS):
        file = io.BytesIO()
        pixels = render_phantom(np.random.default_rng(seed), _PATHOGENS[seed % 3], 256)
        Image.fromarray(pixels).resize(size).save(file, "JPEG")
        films.append(file.getvalue())
    return films
