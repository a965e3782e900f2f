"""Film and heatmap as two pictures that a browser lays one over the other: pure functions, arrays in, PNG out.

The heatmap's colour and its opacity both grow with the evidence, so that what speaks for nothing leaves the film as it
is. How strongly the upper picture covers the lower is the browser's `opacity`: a slider moves without a request.
"""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels on the long side. A film is shown about 900 CSS pixels wide, on screens of up to 2 pixels each.
FILM_SIDE = 2048
# The map itself has a few places a side: what the API sends is interpolated already.
HEATMAP_SIDE = 768

# matplotlib's "inferno" at 0.35, 0.5, 0.65, 0.8, 0.95 (Smith and van der Walt, CC0): its lightness grows evenly.
RAMP = ((120, 28, 109), (188, 55, 84), (237, 105, 37), (251, 180, 26), (242, 242, 134))


def colour_evidence(evidence: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """(h, w) evidence in 0..255 to (h, w, 4) RGBA, not premultiplied: 0 is clear, 255 opaque and brightest.

    >>> colour_evidence(np.array([[0, 255]], dtype=np.uint8)).tolist()
    [[[120, 28, 109, 0], [242, 242, 134, 255]]]
    """
    stops = np.linspace(0, 255, len(RAMP))
    levels = np.arange(256)
    channels = [np.interp(levels, stops, values) for values in zip(*RAMP, strict=True)]
    table = np.stack([*channels, levels], axis=-1)
    return np.rint(table).astype(np.uint8)[evidence]


def film_picture(pixels: "NDArray[np.uint8]") -> bytes:
    """Grayscale PNG of a film (height, width), shrunk to `FILM_SIDE` on the long side where it is longer."""
    return _png(_fit(Image.fromarray(pixels), FILM_SIDE))


def heatmap_picture(evidence: "NDArray[np.uint8]") -> bytes:
    """RGBA PNG of a heatmap (height, width), shrunk to `HEATMAP_SIDE`; to be stretched over the film's picture."""
    small = _fit(Image.fromarray(evidence), HEATMAP_SIDE)
    return _png(Image.fromarray(colour_evidence(np.asarray(small))))


def data_uri(png: bytes) -> str:
    """The picture as an address that needs no request and no file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _fit(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
