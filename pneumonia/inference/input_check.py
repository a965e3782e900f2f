"""Whether a file can be a frontal chest X-ray at all, from cheap statistics of its pixels."""

from dataclasses import dataclass, field

from pneumonia.images import Radiograph

# A film of the public set has a standard deviation of 25 to 75 gray levels at 128 px; a blank one below 2.
_LEAST_DEVIATION = 5.0
# The smallest film of the public set is 127 px on its short side; below this no opacity is resolved.
_LEAST_SIDE = 64
# The public set's films lie between 0.8 and 2.2.
_MOST_ASPECT = 3.0


@dataclass(frozen=True)
class InputCheck:
    """Whether the radiograph passed, and in plain words why not."""

    passed: bool
    reasons: list[str] = field(default_factory=list)


def check_input(radiograph: Radiograph) -> InputCheck:
    """Refuse films that are blank, tiny, or of an aspect ratio that no chest film has."""
    reasons = []
    if float(radiograph.pixels.std()) < _LEAST_DEVIATION:
        reasons.append("The image is blank or nearly so.")
    short, long = sorted((radiograph.width, radiograph.height))
    if short < _LEAST_SIDE:
        reasons.append(f"The image is {radiograph.width} x {radiograph.height} pixels: too small to be read.")
    if long > _MOST_ASPECT * short:
        reasons.append(f"The image is {long / short:.1f} times as long as wide: no frontal chest film is.")
    return InputCheck(not reasons, reasons)
