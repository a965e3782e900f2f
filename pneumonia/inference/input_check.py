"""Whether a file can be a frontal chest X-ray at all: cheap statistics of its pixels, and how typical it is."""

import math
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
# An image of one gray level has no deviation; its score has to be a number all the same.
_FINITE = 0.01


@dataclass(frozen=True)
class InputCheck:
    """Whether the radiograph passed, and in plain words why not.

    `score` is above 0 exactly where the radiograph did not pass: for what is less like a frontal chest film, or more
    like a turned or inverted one, than nearly all films of held-out patients, and for what is blank, tiny or a strip.
    It is the largest of the logarithms of what was measured to its limit: finite, without a unit, and in one order.
    """

    passed: bool
    reasons: list[str] = field(default_factory=list)
    score: float = 0.0


def check_inputs(
    radiographs: Sequence[Radiograph], embeddings: "NDArray[np.float32]", typicality: Typicality
) -> list[InputCheck]:
    """One check a radiograph; `embeddings` (N, D) are the network's."""
    images = np.stack([radiograph.pixels for radiograph in radiographs])
    excesses, margins, turns = typicality.excess_and_turns(images, embeddings)
    return [
        _check(radiograph, float(excess), float(margin), turn)
        for radiograph, excess, margin, turn in zip(radiographs, excesses, margins, turns, strict=True)
    ]


def _check(radiograph: Radiograph, excess: float, margin: float, turn: str) -> InputCheck:
    faults = _faults(radiograph)
    reasons = [reason for fault, reason in faults if fault > 0]
    if not reasons and margin > 0:
        reasons.append(f"This looks like a chest X-ray that is {turn}. Send it upright, with bones bright.")
    elif not reasons and excess > 0:
        reasons.append("This does not look like a frontal chest X-ray.")
    return InputCheck(not reasons, reasons, max(excess, margin, *(fault for fault, _ in faults)))


def _faults(radiograph: Radiograph) -> list[tuple[float, str]]:
    """What can speak against any film (blank, tiny, of an aspect ratio that no chest film has), each with its reason.

    A fault is the logarithm of limit to value, or of value to limit: above 0 where it holds, as `score` is.
    """
    deviation = max(float(radiograph.pixels.std()), _FINITE)
    short, long = sorted((radiograph.width, radiograph.height))
    size = f"{radiograph.width} x {radiograph.height}"
    return [
        (math.log(_LEAST_DEVIATION / deviation), "The image is blank or nearly so."),
        (math.log(_LEAST_SIDE / short), f"The image is {size} pixels: too small to be read."),
        (
            math.log(long / (_MOST_ASPECT * short)),
            f"The image is {long / short:.1f} times as long as wide: no frontal chest film is.",
        ),
    ]
