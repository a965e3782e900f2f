"""The one way in for pixels: the bytes of an X-ray file become a radiograph, or an error that says why not."""

import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pneumonia.errors import DamagedImageError, ImageTooLargeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Raised whenever a change here changes the pixels of any file: caches and bundles record it.
DECODER_VERSION = 1

IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", ".dcm", ".dicom"})

_DICOM_PREAMBLE = 128
_MAX_READS = 200_000


@dataclass(frozen=True)
class Limits:
    """What a file may cost. Both are checked before any pixel is decoded.

    The defaults admit every film of the public data sets and of a 43 x 43 cm detector at 0.1 mm (18 million pixels).
    Pillow refuses 179 million pixels and more, whatever is set here.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One decoded X-ray.

    `pixels` is uint8 of shape (height, width), bones bright (DICOM's MONOCHROME2 sense). `width` and `height` are the
    film's own size in pixels, upright, before any shrinking; `format` names what it was decoded from.
    """

    pixels: "NDArray[np.uint8]"
    width: int
    height: int
    format: str


class BoundedBytes(io.BytesIO):
    """A file in memory that can be read from only so often.

    Pillow and pydicom parse headers in Python, piece by piece: a file of nothing but millions of empty chunks would
    keep them busy for minutes. No radiograph needs a hundredth of the reads allowed here.
    """

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.BytesIO` does; raises `DamagedImageError` when it was done too often."""
        self._reads += 1
        if self._reads > _MAX_READS:
            raise DamagedImageError("The file's header is cut into absurdly many pieces; export the film again.")
        return super().read(size)


def read_radiograph(source: bytes | Path | str, size: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Radiograph:
    """Decode JPEG, PNG, TIFF, WebP or DICOM, from bytes or a file, to a radiograph.

    With `size` the pixels are resampled to (size, size), whatever the film's aspect ratio: that is what networks are
    trained on. A JPEG is then scaled inside its decoder to the smallest eighth that is still large enough. Without,
    the pixels keep the film's own size. Resampling is Pillow's bilinear filter, whose support grows with the
    reduction (an antialiased triangle).

    Raises `ImageTooLargeError` past the limits, `UnsupportedImageError` for a format or kind that is not read,
    `DamagedImageError` for anything else that can't be decoded.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size}")
    data = read_bytes(source, limits)
    if is_dicom(data):
        from pneumonia.dicom import decode_dicom

        gray, name = Image.fromarray(decode_dicom(data, limits)), "DICOM"
        width, height = gray.size
    else:
        from pneumonia.raster import decode_raster

        gray, (width, height), name = decode_raster(data, limits, size)
    if size is not None and gray.size != (size, size):
        gray = gray.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return Radiograph(np.array(gray, dtype=np.uint8), width, height, name)


def image_size(source: bytes | Path | str, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """(width, height) of a file, upright, from its header alone. Raises what `read_radiograph` raises for headers."""
    data = read_bytes(source, limits)
    if is_dicom(data):
        from pneumonia.dicom import dicom_size

        return dicom_size(data, limits)
    from pneumonia.raster import raster_size

    return raster_size(data, limits)


def read_bytes(source: bytes | Path | str, limits: Limits) -> bytes:
    """The bytes of a file, not decoded, or those that are given.

    Raises `ImageTooLargeError` for more than `limits.max_bytes`, `DamagedImageError` for none, and for a path that
    can't be read or is no regular file. No message names the path.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source), limits)
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"The file has more than the {limits.max_bytes:,} bytes that are accepted.")
    if not data:
        raise DamagedImageError("The file is empty; send the film again.")
    return data


def is_dicom(data: bytes) -> bool:
    """Whether the bytes carry the DICOM prefix (DICOM PS3.10, section 7.1)."""
    return data[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM"


def scale_to_uint8(values: "NDArray[np.integer]", bits: int | None = None) -> "NDArray[np.uint8]":
    """Scale unsigned values of `bits` significant bits to 0..255; values beyond them are shown white.

    Without `bits` it is the smallest depth, from 8 to 16, that holds the largest value: 10-, 12- and 14-bit films are
    commonly stored in 16-bit files, and a division by 257 would leave them a handful of gray levels.
    """
    if bits is None:
        bits = min(16, max(8, int(values.max(initial=0)).bit_length()))
    top = 2**bits - 1
    whole = np.minimum(values.astype(np.uint32), top)
    scaled: NDArray[np.uint8] = ((whole * 255 + top // 2) // top).astype(np.uint8)
    return scaled


def _read_file(path: Path, limits: Limits) -> bytes:
    """At most one byte more than the limit; a device or pipe, which may never end, is refused."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DamagedImageError("The path is no regular file; give the file of one film.")
        with path.open("rb") as file:
            return file.read(min(status.st_size, limits.max_bytes + 1))
    except OSError as error:
        raise DamagedImageError(f"The file can't be read: {error.strerror}. Check its path and rights.") from error
    except ValueError as error:  # a path with a null byte
        raise DamagedImageError("The file can't be read: its path is not a valid one.") from error
