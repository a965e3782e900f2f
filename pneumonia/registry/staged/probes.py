"""Films for technical checks: phantoms, and copies of them that should make no difference."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pneumonia.bundle import Bundle
from pneumonia.data.phantom import GENERATOR_VERSION, PhantomCounts, write_phantoms
from pneumonia.errors import ImageError
from pneumonia.images import read_radiograph
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_COUNTS = PhantomCounts(train=0, val=0, test=12)
_SIDE = 256


def write_probes(folder: Path) -> list[Path]:
    """Files of twelve phantoms, half of them with pneumonia or more; the same ones every time."""
    root = write_phantoms(folder / "phantoms", _COUNTS, size=_SIDE)
    return sorted(root.rglob("*.jpeg"))


def record_probes(bundle: Bundle) -> dict[str, Any]:
    """What a bundle answers for these phantoms, by its best engine: its provenance keeps it, and `check_probes` asks.

    `generator` is the version of what draws them, `engine` what answered, `probabilities` of pneumonia in their order.
    """
    with tempfile.TemporaryDirectory(prefix="pneumonia-probes-") as folder:
        answers = list(Predictor(bundle, threads=1).predict_files(write_probes(Path(folder))))
    return {
        "generator": GENERATOR_VERSION,
        "engine": choose_engine(bundle).name,
        "probabilities": [answer.probability for answer in answers if not isinstance(answer, ImageError)],
    }


def copies(path: Path) -> dict[str, bytes]:
    """The film as a gray PNG (`plain`), and files of the same film that ought to get the same answer, by name."""
    gray = read_radiograph(path, _SIDE).pixels
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
