"""One compressed DICOM frame to its stored values, once its own header agrees with what the file says of it."""

import importlib.util
import io
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageFile, Jpeg2KImagePlugin, JpegImagePlugin
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pneumonia.errors import DamagedImageError, UnsupportedImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG 2000 too
_START_OF_CODESTREAM_AND_SIZE = b"\xff\x4f\xff\x51"
_SEQUENTIAL = frozenset({0xFFC0, 0xFFC1})
_LOSSLESS = frozenset({0xFFC3})
_JPEG_LS = frozenset({0xFFF7})
_JPEG_2000: frozenset[int] = frozenset()
# The start-of-frame markers that each syntax may hold: ITU-T T.81 table B.1, T.87 section C.2.2.
_FRAME_MARKERS = {
    JPEGBaseline8Bit: _SEQUENTIAL,
    JPEGExtended12Bit: _SEQUENTIAL,
    JPEGLossless: _LOSSLESS,
    JPEGLosslessSV1: _LOSSLESS,
    JPEGLSLossless: _JPEG_LS,
    JPEGLSNearLossless: _JPEG_LS,
    JPEG2000Lossless: _JPEG_2000,
    JPEG2000: _JPEG_2000,
}
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000})
COMPRESSED_SYNTAXES = frozenset({*_FRAME_MARKERS, RLELossless})
_START_OF_SCAN = 0xFFDA
# Every start of frame, and what only follows one: what is neither looked for nor a table ends the header's walk.
_NO_HEADER_MARKERS = frozenset({*range(0xFFC0, 0xFFDB), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC})
_GDCM = Path(__file__).with_name("gdcm_process.py")
# GDCM hangs on some damaged bytes. It decodes 15 million pixels in less than a second.
_GDCM_SECONDS = 10
_GDCM_SECONDS_PER_PIXEL = 1e-6


@dataclass(frozen=True)
class _Header:
    """What a codestream says of itself, from its byte `start` on."""

    width: int
    height: int
    components: int
    precision: int
    start: int
    signed: bool = False


def decode_frame(frame: bytes, syntax: UID, rows: int, columns: int, bits: int) -> "NDArray[np.uint16]":
    """Decode one frame of one component to (rows, columns); negative values are in two's complement.

    A codestream's own width, height, components and precision are held against the file's before a decoder sees it,
    so that none is made to allocate more than the file's limits allow. `bits` is the file's Bits Stored: where lossy
    compression overshoots them, as it does beside white, the value is cut off and not wrapped around to black.

    Raises `UnsupportedImageError` where a decoder is not installed, `DamagedImageError` for a codestream that
    disagrees with the file or is not whole; hostile bytes may raise any other exception besides.
    """
    if syntax == RLELossless:
        return _decode_rle(frame, rows, columns)
    header, frame = _checked(frame, syntax, rows, columns)
    markers = _FRAME_MARKERS[syntax]
    if markers is _JPEG_2000:
        values = _decode_jpeg_2000(frame, header)
    elif markers is _SEQUENTIAL and header.precision == 8:
        values = _decode_with(JpegImagePlugin.JpegImageFile, frame, header)
    else:
        values = _decode_with_gdcm(frame, syntax, header)
    if syntax in _LOSSY and header.precision > bits:
        lowest = -(2 ** (bits - 1)) if header.signed else 0
        values = np.clip(values, lowest, lowest + 2**bits - 1)
    return values.astype(np.uint16)


def _checked(frame: bytes, syntax: UID, rows: int, columns: int) -> tuple[_Header, bytes]:
    """The header and the bare codestream, once they fit the file."""
    if _FRAME_MARKERS[syntax] is _JPEG_2000:
        frame = frame[max(0, frame.find(_START_OF_CODESTREAM_AND_SIZE)) :]  # some writers leave a JP2 file around it
        header = _jpeg_2000_header(frame)
    else:
        header = _jpeg_header(frame, _FRAME_MARKERS[syntax])
    if (header.width, header.height) != (columns, rows):
        raise DamagedImageError(
            f"The compressed image is {header.width} x {header.height} pixels but the DICOM file says "
            f"{columns} x {rows}; export the film again."
        )
    depths = (8, 12) if _FRAME_MARKERS[syntax] is _SEQUENTIAL else range(2, 17)
    if header.components != 1 or header.precision not in depths:
        raise DamagedImageError(
            f"The compressed image has {header.components} components of {header.precision} bits; "
            f"{syntax.name} is read with 1 of {depths[0]} to {depths[-1]}. Export it again."
        )
    if frame.rfind(_END_OF_IMAGE, header.start) < 0:
        raise DamagedImageError("The compressed image is truncated: it has no end; send the film again.")
    return header, frame


def _jpeg_header(frame: bytes, frame_markers: frozenset[int]) -> _Header:
    """Walk the marker segments up to the first scan: ITU-T T.81 section B.2.2; JPEG-LS has the same."""
    if not frame.startswith(_START_OF_IMAGE):
        raise DamagedImageError("The compressed image is no JPEG though the DICOM file says so; export it again.")
    position, header = len(_START_OF_IMAGE), None
    while True:
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == _START_OF_SCAN and header:
            return header
        if marker in frame_markers and not header:
            precision, height, width, components = struct.unpack_from(">BHHB", frame, position + 4)
            header = _Header(width, height, components, precision, position)
        elif marker < 0xFFC0 or marker in _NO_HEADER_MARKERS or length < 2:
            raise DamagedImageError(
                "The compressed image's header is damaged, or is of another kind of JPEG than the DICOM file says; "
                "export it again."
            )
        position += 2 + length


def _jpeg_2000_header(codestream: bytes) -> _Header:
    """The SIZ segment, which comes first: ITU-T T.800 section A.5.1."""
    if not codestream.startswith(_START_OF_CODESTREAM_AND_SIZE):
        raise DamagedImageError("The compressed image is no JPEG 2000 though the DICOM file says so; export it again.")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    components, depth = struct.unpack_from(">HB", codestream, 40)
    return _Header(right - left, bottom - top, components, (depth & 0x7F) + 1, 0, bool(depth & 0x80))


def _decode_with(reader: type[ImageFile.ImageFile], frame: bytes, header: _Header) -> "NDArray[np.integer]":
    """By one of Pillow's readers; asked by `Image.open` for JPEG 2000 it would import those of all its formats."""
    with reader(io.BytesIO(frame)) as image:
        if image.size != (header.width, header.height) or image.mode not in ("L", "I;16"):
            raise DamagedImageError("The compressed image's header contradicts itself; export the film again.")
        values: NDArray[np.integer] = np.asarray(image)
    return values


def _decode_jpeg_2000(frame: bytes, header: _Header) -> "NDArray[np.integer]":
    """Undo what Pillow does to gray JPEG 2000: it fills up 8 or 16 bits, and lifts signed values above 0."""
    filled = _decode_with(Jpeg2KImagePlugin.Jpeg2KImageFile, frame, header)
    values = filled.astype(np.int32) >> (filled.dtype.itemsize * 8 - header.precision)
    return values - (2 ** (header.precision - 1) if header.signed else 0)


def _decode_with_gdcm(frame: bytes, syntax: UID, header: _Header) -> "NDArray[np.integer]":
    """JPEG of 12 bits, lossless JPEG and JPEG-LS, in a process that may crash or hang without harm to this one."""
    if importlib.util.find_spec("gdcm") is None:
        raise UnsupportedImageError(f"{syntax.name} needs the package python-gdcm; install it.")
    pixels = header.width * header.height
    arguments = [str(syntax), str(header.width), str(header.height), str(header.precision)]
    try:
        done = subprocess.run(  # noqa: S603  (our own file; the arguments are a known UID and three integers)
            [sys.executable, "-P", str(_GDCM), *arguments],
            input=frame,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GDCM_SECONDS + _GDCM_SECONDS_PER_PIXEL * pixels,
            check=False,
        )
    except subprocess.TimeoutExpired:
        done = None
    depth = np.dtype(np.uint8 if header.precision <= 8 else np.uint16)
    if done is None or done.returncode or len(done.stdout) != pixels * depth.itemsize:
        raise DamagedImageError(f"The {syntax.name} image is damaged; export or send the film again.")
    values: NDArray[np.integer] = np.frombuffer(done.stdout, depth)
    return values.reshape(header.height, header.width)


def _decode_rle(frame: bytes, rows: int, columns: int) -> "NDArray[np.uint16]":
    """PS3.5 annex G: a segment for each byte of a pixel, the most significant first."""
    count, *starts = struct.unpack_from("<16I", frame)
    if count not in (1, 2):
        raise DamagedImageError("The RLE image is not of 8 or 16 bits, or its header is damaged; export it again.")
    ends = [*starts[1:count], len(frame)]
    values: NDArray[np.integer] = np.zeros(rows * columns, np.uint16)
    for start, end in zip(starts, ends, strict=False):
        plane = _unpack_bits(frame[start:end], rows * columns)
        values = (values << 8) | np.frombuffer(plane, np.uint8)
    return values.reshape(rows, columns).astype(np.uint16, copy=False)


def _unpack_bits(packed: bytes, size: int) -> bytes:
    """PS3.5 section G.3.2, up to `size` bytes: a hostile segment would unpack to 64 times its length."""
    unpacked = bytearray()
    position = 0
    while len(unpacked) < size and position + 1 < len(packed):
        head = packed[position]
        position += 1
        if head < 128:
            unpacked += packed[position : position + head + 1]
            position += head + 1
        elif head > 128:
            unpacked += packed[position : position + 1] * (257 - head)
            position += 1
    if len(unpacked) < size:
        raise DamagedImageError("The RLE image is truncated or damaged; export or send the film again.")
    return bytes(unpacked[:size])
