"""The views of a film that robustness is measured on: corrupted, and shrunken to the size of train's films."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumonia.data.manifest import Row
from pneumonia.errors import DataError, ImageError
from pneumonia.evaluation.corruptions import CORRUPTIONS, GRADES
from pneumonia.evaluation.weighted import Floats
from pneumonia.images import read_radiograph

if TYPE_CHECKING:
    from pneumonia.inference.predictor import Predictor

# The shrunken copies of the public set that are passed around: squashed to 224 x 224, JPEG with the quantisation tables
# of quality 75 (measured on all films of a copy's test and a tenth of its train).
SHRUNKEN_SIDE = 224
SHRUNKEN_QUALITY = 75
LEAST_FULL_SIDE = 2 * SHRUNKEN_SIDE


class FilmViews(NamedTuple):
    """What was said of one film.

    `probabilities` of PNEUMONIA and whether the input check `turned_away` the film, both (corruptions, grades);
    `plain_turned_away` is the same of the film as it is; `shrunken` is the probability at the size of train's films,
    NaN for a film that is hardly larger.
    """

    probabilities: Floats
    turned_away: NDArray[np.bool_]
    plain_turned_away: bool
    shrunken: float


def view_film(predictor: "Predictor", root: Path, row: Row) -> FilmViews:
    """All views of one film of the tree at `root`. Raises `DataError` when it can't be decoded."""
    try:
        plain = predictor.read(root / row.path)
        pixels = read_radiograph(root / row.path, limits=predictor.limits).pixels
    except ImageError as error:
        raise DataError(f"{row.path} can't be decoded: {error}") from error
    seed = film_seed(row.sha256)
    answers = [
        predictor.predict([predictor.read(lossless(corruption.apply(pixels, grade, seed))) for grade in GRADES])
        for corruption in CORRUPTIONS.values()
    ]
    shrunken = np.nan
    if min(pixels.shape) >= LEAST_FULL_SIDE:
        shrunken = predictor.predict([predictor.read(shrink(pixels))])[0].probability
    return FilmViews(
        np.array([[answer.probability for answer in grades] for grades in answers], dtype=np.float64),
        np.array([[not answer.input_check.passed for answer in grades] for grades in answers], dtype=np.bool_),
        not predictor.predict([plain])[0].input_check.passed,
        shrunken,
    )


def film_seed(sha256: str) -> int:
    """The seed of a film's corruptions: the first 64 bits of its SHA-256.

    >>> film_seed("00000000000000ff" + 48 * "7")
    255
    """
    return int(sha256[:16], 16)


def lossless(pixels: NDArray[np.uint8]) -> bytes:
    """A file of exactly these pixels: uncompressed TIFF, which takes a tenth of the time of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="TIFF")
    return buffer.getvalue()


def shrink(pixels: NDArray[np.uint8]) -> bytes:
    """The film as a shrunken copy of the data set has it: squashed to 224 x 224 with antialiasing, as a JPEG."""
    buffer = io.BytesIO()
    small = Image.fromarray(pixels).resize((SHRUNKEN_SIDE, SHRUNKEN_SIDE), Image.Resampling.BILINEAR)
    small.save(buffer, format="JPEG", quality=SHRUNKEN_QUALITY)
    return buffer.getvalue()
