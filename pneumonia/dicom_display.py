"""From a film's stored values to what a viewer shows: DICOM's grayscale transformations, PS3.3 section C.11."""

from typing import TYPE_CHECKING

import numpy as np

from pneumonia.errors import DamagedImageError
from pneumonia.images import scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


def show(stored: "NDArray[np.integer]", dataset: "Dataset", little_endian: bool = True) -> "NDArray[np.uint8]":
    """Stored values (rows, columns) of at most 16 bits to uint8 of the same shape, bones bright.

    In order: modality (lookup table, else slope and intercept), values of interest (lookup table, else the first
    window, else the full range of the film), presentation (MONOCHROME1 is inverted). Pixel padding is shown black.
    `little_endian` is the byte order that `dataset` was stored in.

    Every step maps a value for itself, so each is computed once for every value that occurs, not once for every pixel.
    Raises `DamagedImageError` where an element contradicts the standard.
    """
    lowest = int(stored.min())
    offsets = np.subtract(stored, lowest, dtype=np.intp)
    values = np.flatnonzero(np.bincount(offsets.ravel())) + lowest
    padding = _is_padding(values, dataset)
    film = values if padding.all() else values[~padding]
    shown = np.zeros(int(values[-1]) - lowest + 1, np.uint8)
    shown[film - lowest] = _grayscale(film, dataset, little_endian)
    pixels: NDArray[np.uint8] = shown[offsets]
    return pixels


def apply_window(
    values: "NDArray[np.floating]", center: float, width: float, function: str = "LINEAR"
) -> "NDArray[np.float64]":
    """Map values through a window to 0..255, by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3.

    `function` is LINEAR (width at least 1), LINEAR_EXACT or SIGMOID (width above 0). Raises `DamagedImageError` for
    another one and for a width below.

    >>> apply_window(np.array([0.0, 2047.0, 2048.0, 4095.0]), center=2048, width=4096).round().tolist()
    [0.0, 127.0, 128.0, 255.0]
    """
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DamagedImageError("The DICOM VOI LUT Function is none of LINEAR, LINEAR_EXACT and SIGMOID; correct it.")
    if not (np.isfinite([center, width]).all() and width > 0 and (width >= 1 or function != "LINEAR")):
        raise DamagedImageError("The DICOM Window Width is 0 or otherwise not a window; correct or remove the window.")
    if function == "SIGMOID":
        # 1 / (1 + exp(-4 z)) of the standard, in the form that does not overflow.
        return np.asarray(127.5 * (1 + np.tanh(2 * (values - center) / width)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.where(values > center, 255.0, 0.0)
    return np.asarray(np.clip(((values - center) / width + 0.5) * 255, 0, 255))


def _grayscale(stored: "NDArray[np.intp]", dataset: "Dataset", little_endian: bool) -> "NDArray[np.uint8]":
    values = _modality(stored, dataset, little_endian)
    shown = _values_of_interest(values, dataset, little_endian)
    # Two words for one thing, not two inversions: INVERSE "shall be used if" MONOCHROME1 (PS3.3 C.7.6.1, C.8.11.1).
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        return 255 - shown
    return shown


def _is_padding(values: "NDArray[np.intp]", dataset: "Dataset") -> "NDArray[np.bool_]":
    """Which values are padding around the film, PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(values.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (values >= low) & (values <= high)


def _modality(stored: "NDArray[np.intp]", dataset: "Dataset", little_endian: bool) -> "NDArray[np.float64]":
    """PS3.3 C.11.1."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(stored, dataset.ModalityLUTSequence[0], little_endian)[0].astype(np.float64)
    values = stored.astype(np.float64)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        values = values * float(slope) + float(intercept)
    if not np.isfinite(values).all():
        raise DamagedImageError("The DICOM Rescale Slope or Intercept is not a finite number; correct or remove it.")
    return values


def _values_of_interest(values: "NDArray[np.float64]", dataset: "Dataset", little_endian: bool) -> "NDArray[np.uint8]":
    """PS3.3 C.11.2; several lookup tables or windows are alternatives, of which the first is taken."""
    if dataset.get("VOILUTSequence"):
        return scale_to_uint8(*_look_up(values, dataset.VOILUTSequence[0], little_endian))
    center, width = (_first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        return np.rint(apply_window(values, center, width, function)).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def _first(value: object) -> float | None:
    """The first number of an element that may hold none, one or several."""
    numbers = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64))
    return float(numbers[0]) if numbers.size else None


def _look_up(values: "NDArray[np.number]", table: "Dataset", little_endian: bool) -> "tuple[NDArray[np.integer], int]":
    """Values through a lookup table, and the bits of its entries: PS3.3 C.11.1.1.1 and C.11.2.1.1.

    Entries of 8 bits may be packed two in a word or not; the length of the data tells.
    """
    count, first, bits = (int(number) for number in table.LUTDescriptor)
    count = count % 2**16 or 2**16
    if not 8 <= bits <= 16:
        raise DamagedImageError("A DICOM lookup table has entries of fewer than 8 or more than 16 bits; remove it.")
    data = table.LUTData
    words = np.frombuffer(data, "<u2" if little_endian else ">u2") if isinstance(data, bytes) else np.atleast_1d(data)
    words = words.astype("<u2")
    entries = words.view(np.uint8) if bits == 8 and len(words) < count else words
    if len(entries) < count:
        raise DamagedImageError("A DICOM lookup table is shorter than its descriptor says; export the film again.")
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, count - 1)], bits
