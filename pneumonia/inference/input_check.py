"""Whether a file can be a frontal chest X-ray at all: cheap statistics of its pixels, and how typical it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pneumonia.images import Radiograph
from pneumonia.inference.typicality import Typicality

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A film of the public set has a standard deviation of 25 to 75 gray levels at 128 px; a blank one below 2.
_LEAST_DEVIATION = 5.0
# The smallest film of the public set is 127 px on its short side; below this no opacity is resolved.
_LEAST_SIDE = 64
# The public set's films lie between 0.8 and 2.2.
_MOST_ASPECT = 3.0


@dataclass(frozen=True)
class InputCheck:
    """Whether the radiograph passed, and in plain words why not.

    `score` is above 0 for what is less like a frontal chest film, or more like a turned or inverted one, than nearly
    all films of held-out patients: a difference of log distances, without a unit.
    """

    passed: bool
    reasons: list[str] = field(default_factory=list)
    score: float = 0.0


def check_inputs(
    radiographs: Sequence[Radiograph], embeddings: "NDArray[np.float32]", typicality: Typicality
) -> list[InputCheck]:
    """One check a radiograph; `embeddings` (N, D) are the network's."""
    images = np.stack([radiograph.pixels for radiograph in radiographs])
    excesses = typicality.excess(images, embeddings)
    margins, turns = typicality.turns(images)
    return [
        _check(radiograph, float(excess), float(margin), turn)
        for radiograph, excess, margin, turn in zip(radiographs, excesses, margins, turns, strict=True)
    ]


def _check(radiograph: Radiograph, excess: float, margin: float, turn: str) -> InputCheck:
    reasons = _implausible(radiograph)
    if not reasons and margin > 0:
        reasons.append(f"This looks like a chest X-ray that is {turn}. Send it upright, with bones bright.")
    elif not reasons and excess > 0:
        reasons.append("This does not look like a frontal chest X-ray.")
    return InputCheck(not reasons, reasons, max(excess, margin))


def _implausible(radiograph: Radiograph) -> list[str]:
    """What speaks against any film: blank, tiny, or of an aspect ratio that no chest film has."""
    reasons = []
    if float(radiograph.pixels.std()) < _LEAST_DEVIATION:
        reasons.append("The image is blank or nearly so.")
    short, long = sorted((radiograph.width, radiograph.height))
    if short < _LEAST_SIDE:
        reasons.append(f"The image is {radiograph.width} x {radiograph.height} pixels: too small to be read.")
    if long > _MOST_ASPECT * short:
        reasons.append(f"The image is {long / short:.1f} times as long as wide: no frontal chest film is.")
    return reasons
