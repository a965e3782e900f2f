"""DICOM bytes to an 8-bit grayscale array, as a viewer would show it; of the file's elements only the image's are read.

No message here carries text of the file or of the libraries that parse it, and no error keeps theirs as its cause:
either may quote an element that identifies a patient.
"""

import logging
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pneumonia.dicom_codecs import COMPRESSED_SYNTAXES, decode_frame
from pneumonia.dicom_display import show
from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.images import BoundedBytes, Limits
from pneumonia.polyglots import refuse_polyglot, refuse_preamble

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Result = TypeVar("_Result")
_NATIVE_SYNTAXES = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
_PYDICOM = re.compile(r"pydicom(\.|$)")
_DATASET_START = 132  # after the preamble and the prefix, PS3.10 section 7.1
_IMAGE_ELEMENTS = (
    "SOPClassUID",  # in every file: without it nothing was read
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape"),
)


def decode_dicom(data: bytes, limits: Limits) -> "NDArray[np.uint8]":
    """Decode one grayscale frame to uint8 (rows, columns), bones bright, as `dicom_display.show` describes.

    Raises `UnsupportedImageError` for several frames, colour, or a transfer syntax that is not read;
    `ImageTooLargeError` past the limits; `DamagedImageError` for anything else that can't be decoded.
    """
    dataset, syntax = _open(data, limits)
    return _without_quoting(
        lambda: show(_stored_values(dataset, syntax), dataset, syntax.is_little_endian),
        "The DICOM pixel data or an element that says how to show them",
    )


def dicom_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(width, height) of the frame, from the header. Raises what `decode_dicom` raises for headers."""
    dataset, _ = _open(data, limits)
    return int(dataset.Columns), int(dataset.Rows)


def read_elements(data: bytes, limits: Limits, keywords: Sequence[str]) -> Dataset:
    """The elements of a file that are asked for by their keywords, and no others.

    Raises what `decode_dicom` raises for headers that can't be parsed. An element is decoded only when it is taken from
    the answer: that may raise anything, and its text may quote what the file holds.
    """
    _silence_pydicom()
    refuse_preamble(data)
    dataset, _ = _without_quoting(lambda: _parse(data, limits, keywords), "The DICOM header")
    return dataset


def _open(data: bytes, limits: Limits) -> tuple[Dataset, UID]:
    """Read the image's elements and check kind and size; no pixel is decoded."""
    _silence_pydicom()
    refuse_preamble(data)
    dataset, syntax = _without_quoting(lambda: _parse(data, limits, _IMAGE_ELEMENTS), "The DICOM header")
    _without_quoting(lambda: _check(dataset, limits), "An image element of the DICOM header")
    refuse_polyglot(data)
    return dataset, syntax


def _without_quoting(step: Callable[[], _Result], what: str) -> _Result:
    """Run a step; any error but our own becomes one that keeps nothing of it but its name."""
    try:
        return step()
    except ImageError:
        raise
    except Exception as error:  # parsers and codecs may fail on hostile bytes with any exception at all
        kind = type(error).__name__
    # Here and not above, where Python would keep the other error as this one's context.
    raise DamagedImageError(f"{what} is truncated, damaged or inconsistent ({kind}); export or send the film again.")


def _parse(data: bytes, limits: Limits, keywords: Sequence[str]) -> tuple[Dataset, UID]:
    file = BoundedBytes(data)
    file.seek(_DATASET_START)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _, __: tag.group != 2)
    if not meta.get("TransferSyntaxUID"):
        raise DamagedImageError("The DICOM file does not say its transfer syntax; export it as a DICOM Part 10 file.")
    syntax = UID(str(meta.TransferSyntaxUID))
    if syntax not in _NATIVE_SYNTAXES and syntax not in COMPRESSED_SYNTAXES:
        name = "a private or unknown one" if syntax.name == str(syntax) else syntax.name
        raise UnsupportedImageError(
            f"The DICOM transfer syntax is not read: {name}. Export uncompressed or as JPEG, JPEG-LS, JPEG 2000 or RLE."
        )
    if syntax == DeflatedExplicitVRLittleEndian:
        file = BoundedBytes(_inflate(data[file.tell() :], limits))
    tags: list[BaseTag | int] = [Tag(keyword) for keyword in keywords]
    dataset = read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian, specific_tags=tags)
    return dataset, syntax


def _inflate(deflated: bytes, limits: Limits) -> bytes:
    """PS3.5 section A.5; pydicom itself would inflate without a limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limits.max_bytes + 1)
    if len(inflated) > limits.max_bytes:
        raise ImageTooLargeError(f"The DICOM file inflates to more than the {limits.max_bytes:,} bytes accepted.")
    if not inflater.eof:
        raise DamagedImageError("The deflated DICOM file is truncated; send it again.")
    return inflated


def _check(dataset: Dataset, limits: Limits) -> None:
    if not dataset:  # pydicom keeps nothing of a file that ends within an element of undefined length
        raise DamagedImageError("The DICOM file is truncated or holds no image; send a radiograph as a whole.")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not (rows and columns):
        raise UnsupportedImageError("The DICOM file holds no image; send a radiograph (CR, DX or similar).")
    if "PixelData" not in dataset:
        raise DamagedImageError("The DICOM file ends before its pixel data or has none; export or send it again.")
    if rows * columns > limits.max_pixels:
        raise ImageTooLargeError(
            f"The image is {columns} x {rows} pixels; at most {limits.max_pixels:,} in all are accepted."
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnsupportedImageError(f"The DICOM file holds {frames} frames; send one radiograph a file.")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedImageError("The DICOM file is in colour or does not say that it is gray; send a radiograph.")
    stored, highest = int(dataset.BitsStored), int(dataset.get("HighBit") or 0)
    if max(stored, highest + 1) > 16:
        raise UnsupportedImageError("Pixels of more than 16 bits are not read; a radiograph has 8 to 16.")
    if stored < 1:
        raise DamagedImageError("The DICOM element Bits Stored is 0; export the film again.")


def _stored_values(dataset: Dataset, syntax: UID) -> "NDArray[np.integer]":
    """The stored values (rows, columns), int16 or uint16.

    What some devices keep in the bits above High Bit (overlays) or below it is shifted out, PS3.5 section 8.1.1.
    """
    stored = int(dataset.BitsStored)
    if syntax in COMPRESSED_SYNTAXES:
        frame = get_frame(BoundedBytes(dataset.PixelData), 0, number_of_frames=1)
        values = decode_frame(frame, syntax, int(dataset.Rows), int(dataset.Columns), stored)
    else:
        options: dict[str, Any] = {"correct_unused_bits": False, "allow_excess_frames": False}
        native, _ = get_decoder(syntax).as_array(dataset, index=0, raw=True, **options)
        values = native.astype(np.int16 if native.dtype.kind == "i" else np.uint16)
    used = max(stored, int(dataset.get("HighBit") or 0) + 1)
    typed = values.view(np.int16 if dataset.PixelRepresentation == 1 else np.uint16)
    return (typed << (16 - used)) >> (16 - stored)


def _silence_pydicom() -> None:
    """Its log lines and warnings quote element values; both may have been switched on again since the last file."""
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    if ("ignore", None, Warning, _PYDICOM, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PYDICOM.pattern)
