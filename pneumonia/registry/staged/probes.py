"""Images for technical checks: copies of a film that should make no difference, and what no chest gives."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pneumonia.images import read_radiograph
from pneumonia.inference.probes import PROBE_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


def copies(path: Path) -> dict[str, bytes]:
    """The film as a gray PNG (`plain`), and files of the same film that ought to get the same answer, by name."""
    gray = read_radiograph(path, PROBE_SIDE).pixels
    return {"plain": _encode(gray), **{name: change(gray) for name, change in CHANGES.items()}}


def extremes(size: int) -> "Pixels":
    """Images (4, size, size) that no chest gives: black, white, one bright pixel, noise. Answers must be finite."""
    black = np.zeros((size, size), dtype=np.uint8)
    dot = black.copy()
    dot[size // 2, size // 2] = 255
    noise = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    return np.stack([black, np.full_like(black, 255), dot, noise])


def _encode(pixels: "Pixels", mode: str = "L", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, quality=95)
    return buffer.getvalue()


def _exposed(pixels: "Pixels", gain: float, offset: float) -> bytes:
    return _encode(np.rint(pixels * gain + offset).clip(0, 255).astype(np.uint8))


CHANGES: "dict[str, Callable[[Pixels], bytes]]" = {
    "in color": lambda pixels: _encode(pixels, "RGB"),
    "as TIFF": lambda pixels: _encode(pixels, kind="TIFF"),
    "as JPEG": lambda pixels: _encode(pixels, kind="JPEG"),
    "darker": lambda pixels: _exposed(pixels, 0.7, 0),
    "with less contrast": lambda pixels: _exposed(pixels, 0.6, 60),
}
