"""How a DICOM film lies and how large it is: the elements that say so, and no others, so that none identifies anyone.

Only letters of a fixed alphabet and numbers leave this module; see DICOM PS3.3, C.7.6.1.1.1 (patient orientation),
C.7.6.2.1.1 (image orientation) and 10.7.1.3 (pixel spacing).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pneumonia.dicom import read_elements
from pneumonia.errors import ImageError
from pneumonia.images import DEFAULT_LIMITS, is_dicom

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
# Toward larger x, y and z of the patient: left, posterior, head.
_AXES = (("L", "R"), ("P", "A"), ("H", "F"))
_DIRECTION = re.compile(r"[LRAPHF]{1,3}")
# The smaller parts of a slanted direction are left out: 0.3 is 17 degrees.
_LEAST_PART = 0.3
# Of a detector's pixel, in millimetres; what is beyond is a mistake.
_LEAST_SPACING, _MOST_SPACING = 0.01, 5.0
_VIEWS = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"})
_SIDES = frozenset({"L", "R", "U", "B"})

_ELEMENTS = (
    *("PatientOrientation", "ImageOrientationPatient", "ViewPosition", "Laterality", "ImageLaterality"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "Rows", "Columns"),
)


@dataclass(frozen=True)
class Geometry:
    """What a DICOM file says of how its film lies.

    `marks` are the patient's directions at the top, right, bottom and left edge, such as ("H", "L", "F", "R"), or four
    empty strings; `spacing` millimetres from row to row and from column to column, `at_detector` when they are measured
    there and not in the patient; `side` the laterality (L, R, U, B) and `view` the projection (PA, AP, LL ...), or "".
    """

    marks: tuple[str, str, str, str] = ("", "", "", "")
    spacing: tuple[float, float] | None = None
    at_detector: bool = True
    side: str = ""
    view: str = ""


def read_geometry(data: bytes) -> Geometry | None:
    """The geometry of a file's bytes; None for what is no DICOM, or can't be read as such."""
    if not is_dicom(data):
        return None
    try:
        elements = read_elements(data, DEFAULT_LIMITS, _ELEMENTS)
    except ImageError:
        return None
    return geometry(elements)


def geometry(elements: Any) -> Geometry:
    """The geometry in the elements of `pydicom.Dataset`; what is missing or makes no sense is left out."""
    spacing, at_detector = _spacing(elements)
    side = _word(elements, "ImageLaterality", _SIDES) or _word(elements, "Laterality", _SIDES)
    return Geometry(_marks(elements), spacing, at_detector, side, _word(elements, "ViewPosition", _VIEWS))


def opposite(direction: str) -> str:
    """The direction that is opposite.

    >>> opposite("L"), opposite("HL")
    ('R', 'FR')
    """
    return "".join(_OPPOSITE[letter] for letter in direction)


def direction_of(cosines: Sequence[float]) -> str:
    """Letters of a direction (3,) in the patient's coordinates, the largest part first.

    >>> direction_of((1, 0, 0)), direction_of((0, 0, -1)), direction_of((0.8, 0, 0.6))
    ('L', 'F', 'LH')
    """
    parts = sorted(zip(cosines, _AXES, strict=True), key=lambda part: -abs(part[0]))
    return "".join(letters[value < 0] for value, letters in parts if abs(value) >= _LEAST_PART)


def _marks(elements: Any) -> tuple[str, str, str, str]:
    """From the directions of rows (to the right) and of columns (down)."""
    right, bottom = _stated(elements) or _computed(elements) or ("", "")
    return opposite(bottom), right, bottom, opposite(right)


def _stated(elements: Any) -> tuple[str, str] | None:
    values = _values(elements, "PatientOrientation")
    if len(values) != 2:
        return None
    right, bottom = (str(value).strip() for value in values)
    return (right, bottom) if _DIRECTION.fullmatch(right) and _DIRECTION.fullmatch(bottom) else None


def _computed(elements: Any) -> tuple[str, str] | None:
    cosines = _numbers(elements, "ImageOrientationPatient", 6)
    if cosines is None or not all(0.9 < math.hypot(*cosines[start : start + 3]) < 1.1 for start in (0, 3)):
        return None
    return direction_of(cosines[:3]), direction_of(cosines[3:])


def _spacing(elements: Any) -> tuple[tuple[float, float] | None, bool]:
    detector = _pair(elements, "ImagerPixelSpacing") or _pair(elements, "NominalScannedPixelSpacing")
    calibrated = _pair(elements, "PixelSpacing")
    if calibrated is None:
        return detector, True
    # The same figure in both is no calibration; of a projection without the other it is said to be one.
    return calibrated, calibrated == detector


def _pair(elements: Any, keyword: str) -> tuple[float, float] | None:
    numbers = _numbers(elements, keyword, 2)
    if numbers is None or not all(_LEAST_SPACING <= number <= _MOST_SPACING for number in numbers):
        return None
    return numbers[0], numbers[1]


def _numbers(elements: Any, keyword: str, count: int) -> list[float] | None:
    try:
        numbers = [float(value) for value in _values(elements, keyword)]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _word(elements: Any, keyword: str, known: frozenset[str]) -> str:
    values = _values(elements, keyword)
    word = str(values[0]).strip() if values else ""
    return word if word in known else ""


def _values(elements: Any, keyword: str) -> list[Any]:
    try:
        value = elements.get(keyword)
    except Exception:  # an element is decoded when it is asked for, and a hostile one may fail with anything
        return []
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)
