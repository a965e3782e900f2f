"""The exact class-activation map as a picture."""

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pneumonia_evidence(activation_map: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """What each place adds to the log-odds of pneumonia: (K, h, w) to (h, w).

    The strongest class that is not class 0 (normal), less class 0. With two classes its mean over all places, plus
    the difference of the biases, is the difference of the logits: the map is exact, not an approximation.
    """
    strongest = 1 + int(activation_map[1:].mean(axis=(1, 2)).argmax())
    difference: NDArray[np.float32] = activation_map[strongest] - activation_map[0]
    return difference


def render_heatmap(activation_map: "NDArray[np.float32]", width: int, height: int) -> bytes:
    """8-bit grayscale PNG of (height, width): 0 where nothing speaks for pneumonia, 255 at the map's largest value.

    The scale is the film's own: the largest absolute evidence in it. A film whose evidence is all against pneumonia is
    black.
    """
    evidence = pneumonia_evidence(activation_map)
    relative = np.clip(evidence / max(float(np.abs(evidence).max()), 1e-6), 0.0, 1.0)
    picture = Image.fromarray(np.rint(relative * 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BICUBIC).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
