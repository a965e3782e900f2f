"""Graded corruptions of a film: what scanners, exports and screenshots do to it, in five steps each.

After Hendrycks and Dietterich (2019), "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
with kinds and amounts for radiographs. `docs/robustness.md` says what each stands for.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

GRADES = (1, 2, 3, 4, 5)
MIDDLE_GRADE = 3


@dataclass(frozen=True)
class Corruption:
    """One way in which a film can be worse than those of train.

    `amounts` are its five grades, mild to severe, in `unit`; `change` maps (pixels, amount, generator) to pixels:
    uint8 (height, width) in and out, though not always of the same shape. `description` is for the report.
    """

    name: str
    description: str
    unit: str
    amounts: tuple[float, float, float, float, float]
    change: "Callable[[Pixels, float, np.random.Generator], Pixels]"

    def apply(self, pixels: "Pixels", grade: int, seed: int = 0) -> "Pixels":
        """The film at a grade from 1 to 5; the same pixels and seed give the same film.

        What is drawn at random (noise, the place of a window, a direction) is drawn alike for every grade, so that
        grades differ in amount alone. The result may be a view of `pixels`, and read-only. Raises `ValueError` for
        another grade.
        """
        if grade not in GRADES:
            raise ValueError(f"grade must be one of {GRADES}, not {grade}")
        return self.change(pixels, self.amounts[grade - 1], np.random.default_rng(seed))


def corrupt(pixels: "Pixels", name: str, grade: int, seed: int = 0) -> "Pixels":
    """The film under the corruption of that name in `CORRUPTIONS`; see `Corruption.apply`."""
    return CORRUPTIONS[name].apply(pixels, grade, seed)


def cut_to_shape(pixels: "Pixels", ratio: float) -> "Pixels":
    """The middle of a film (height, width) whose width to height is so many times the film's own; one side is whole.

    >>> film = np.zeros((100, 100), np.uint8)
    >>> cut_to_shape(film, 1.25).shape, cut_to_shape(film, 0.5).shape
    ((80, 100), (100, 50))
    """
    height, width = pixels.shape
    rows = round(height * (1 - min(1, 1 / ratio)) / 2)
    columns = round(width * (1 - min(1, ratio)) / 2)
    return pixels[rows : height - rows, columns : width - columns]


def _resolution(pixels: "Pixels", side: float, generator: np.random.Generator) -> "Pixels":
    """Shrunk until its short side has so many pixels; a film that is smaller already stays as it is."""
    del generator
    height, width = pixels.shape
    factor = side / min(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def _blur(pixels: "Pixels", part: float, generator: np.random.Generator) -> "Pixels":
    del generator
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(part * min(pixels.shape))))


def _sharpen(pixels: "Pixels", amount: float, generator: np.random.Generator) -> "Pixels":
    """Unsharp mask over 1% of the short side, as film processing and viewers do it."""
    del generator
    radius = 0.01 * min(pixels.shape)
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius, round(100 * amount), threshold=0)))


def _noise(pixels: "Pixels", deviation: float, generator: np.random.Generator) -> "Pixels":
    noisy = pixels + generator.normal(0.0, deviation, pixels.shape)
    clipped: Pixels = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return clipped


def _gain(pixels: "Pixels", gain: float, generator: np.random.Generator) -> "Pixels":
    """Contrast around the film's own mean; what leaves 0..255 is clipped."""
    del generator
    mean = float(pixels.mean())
    clipped: Pixels = np.rint((mean + gain * (pixels - mean)).clip(0, 255)).astype(np.uint8)
    return clipped


def _gamma(pixels: "Pixels", exponent: float, generator: np.random.Generator) -> "Pixels":
    del generator
    curve = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return curve[pixels]


def _crop(pixels: "Pixels", part: float, generator: np.random.Generator) -> "Pixels":
    """A window of that part of each side, anywhere in the film."""
    height, width = (max(1, round(edge * part)) for edge in pixels.shape)
    top = int(generator.integers(0, pixels.shape[0] - height + 1))
    left = int(generator.integers(0, pixels.shape[1] - width + 1))
    return pixels[top : top + height, left : left + width]


def _border(pixels: "Pixels", part: float, generator: np.random.Generator) -> "Pixels":
    """The film takes that part of each side of a black frame: collimation, or a screenshot."""
    height, width = (round(edge / part) for edge in pixels.shape)
    framed = np.zeros((height, width), dtype=np.uint8)
    top = int(generator.integers(0, height - pixels.shape[0] + 1))
    left = int(generator.integers(0, width - pixels.shape[1] + 1))
    framed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return framed


def _rotate(pixels: "Pixels", degrees: float, generator: np.random.Generator) -> "Pixels":
    angle = degrees * (1 if generator.random() < 0.5 else -1)
    return np.asarray(Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR))


def _stretch(pixels: "Pixels", ratio: float, generator: np.random.Generator) -> "Pixels":
    """Width to height changed by the ratio or its inverse: the network squares its input."""
    return cut_to_shape(pixels, ratio if generator.random() < 0.5 else 1 / ratio)


def _jpeg(pixels: "Pixels", quality: float, generator: np.random.Generator) -> "Pixels":
    del generator
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=round(quality))
    return np.asarray(Image.open(buffer))


CORRUPTIONS = {
    corruption.name: corruption
    for corruption in (
        Corruption("resolution", "shrunk", "px on the short side", (160, 128, 96, 72, 56), _resolution),
        Corruption("blur", "Gaussian blur", "of the short side", (0.003, 0.006, 0.009, 0.013, 0.018), _blur),
        Corruption("sharpening", "unsharp mask", "times the detail", (0.5, 1.0, 1.5, 2.25, 3.0), _sharpen),
        Corruption("noise", "additive Gaussian noise", "gray levels", (4, 8, 12, 18, 25), _noise),
        Corruption("low contrast", "contrast lowered", "times", (0.8, 0.65, 0.5, 0.35, 0.2), _gain),
        Corruption("high contrast", "contrast raised and clipped", "times", (1.2, 1.4, 1.6, 2.0, 2.5), _gain),
        Corruption("brighter", "tone curve lifted", "exponent", (0.85, 0.7, 0.6, 0.5, 0.4), _gamma),
        Corruption("darker", "tone curve lowered", "exponent", (1.2, 1.4, 1.7, 2.0, 2.5), _gamma),
        Corruption("crop", "a window of the film", "of each side", (0.95, 0.9, 0.85, 0.8, 0.75), _crop),
        Corruption("border", "on a black frame", "of each side", (0.95, 0.9, 0.85, 0.8, 0.75), _border),
        Corruption("rotation", "turned on black", "degrees", (3, 6, 9, 12, 15), _rotate),
        Corruption("stretch", "one side cropped", "width to height", (1.05, 1.1, 1.15, 1.2, 1.3), _stretch),
        Corruption("JPEG", "compressed", "quality", (50, 30, 20, 12, 8), _jpeg),
    )
}
