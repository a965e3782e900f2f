"""Files that a server must not fall over: films that are cut, flipped, mixed up or lie, and what is no film at all."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pneumonia.data.phantom_film import render_phantom

# What a file may be answered with that may or may not still hold a film.
DOCUMENTED = frozenset({200, 400, 413, 415})
_SIDE = 128
_BOMB = 64 * 2**20


@dataclass(frozen=True)
class HostileFile:
    """Bytes of a kind, and the statuses that `/predict` may answer them with."""

    kind: str
    data: bytes
    statuses: frozenset[int] = DOCUMENTED


def hostile_files(count: int, seed: int = 0) -> Iterator[HostileFile]:
    """So many files, of all kinds in turn. A seed gives the same files."""
    rng, films, makers = np.random.default_rng(seed), list(sound_films().values()), list(_MAKERS.items())
    for index in range(count):
        kind, (make, statuses) = makers[index % len(makers)]
        film = films[index // len(makers) % len(films)]
        yield HostileFile(kind, make(film, rng), statuses)


def sound_films() -> dict[str, bytes]:
    """One phantom in each format that is read."""
    pixels = render_phantom(np.random.default_rng(0), "bacteria", _SIDE)
    gray, deep = Image.fromarray(pixels), Image.fromarray(pixels.astype(np.uint16) * 16)
    return {
        "JPEG": _encoded(gray, "JPEG", quality=90),
        "progressive JPEG": _encoded(gray, "JPEG", quality=90, progressive=True),
        "PNG": _encoded(gray, "PNG"),
        "16-bit PNG": _encoded(deep, "PNG"),
        "TIFF": _encoded(gray, "TIFF"),
        "deflated TIFF": _encoded(gray, "TIFF", compression="tiff_adobe_deflate"),
        "WebP": _encoded(gray, "WEBP", lossless=True),
        "DICOM": dicom_file(pixels, ExplicitVRLittleEndian),
        "implicit DICOM": dicom_file(pixels, ImplicitVRLittleEndian),
        "big-endian DICOM": dicom_file(pixels, ExplicitVRBigEndian),
    }


def dicom_file(pixels: "np.typing.NDArray[np.uint8]", syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """8-bit gray pixels as a DICOM file without a patient."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.826.0.1.3680043.8.498.1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.WindowCenter, dataset.WindowWidth = "128", "256"
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def cut(film: bytes, rng: np.random.Generator) -> bytes:
    """The first part of it."""
    return film[: int(rng.integers(1, len(film)))]


def flip_bits(film: bytes, rng: np.random.Generator) -> bytes:
    """One to thirty-two bits are turned over, anywhere."""
    changed = bytearray(film)
    for _ in range(int(2 ** rng.integers(0, 6))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_header(film: bytes, rng: np.random.Generator) -> bytes:
    """The same within the first 400 bytes, where sizes and types are said."""
    return flip_bits(film[:400], rng) + film[400:]


def overwrite(film: bytes, rng: np.random.Generator) -> bytes:
    """A piece is 0, 0xFF or noise."""
    start, size = int(rng.integers(len(film))), int(rng.integers(1, 64))
    filling = (bytes(size), b"\xff" * size, rng.bytes(size))[int(rng.integers(3))]
    return film[:start] + filling + film[start + size :]


def shuffle(film: bytes, rng: np.random.Generator) -> bytes:
    """A piece is taken out and put in again elsewhere, or twice."""
    first, second, third = sorted(int(place) for place in rng.integers(0, len(film), 3))
    piece = film[first:second]
    return film[: first if rng.integers(2) else second] + film[second:third] + piece + film[third:]


def boast(film: bytes, rng: np.random.Generator) -> bytes:
    """Two bytes of the header say 0xFFFF: a width, a height, a length."""
    place = int(rng.integers(min(600, len(film) - 2)))
    return film[:place] + b"\xff\xff" + film[place + 2 :]


def break_dicom(film: bytes, rng: np.random.Generator) -> bytes:
    """A DICOM file in which tags, types and lengths are noise; the film's own format does not matter."""
    del film
    pixels = render_phantom(np.random.default_rng(0), "", _SIDE)
    changed = bytearray(dicom_file(pixels, (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[int(rng.integers(2))]))
    header = len(changed) - pixels.size
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(132, header - 4))
        changed[place : place + 4] = rng.bytes(4)
    return bytes(changed)


def append(film: bytes, rng: np.random.Generator) -> bytes:
    """Something else behind it that another program would find."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("run.py", "print('hello')")
    hidden = (archive.getvalue(), b"<script>alert(1)</script>", b"Rar!\x1a\x07\x01\0" + rng.bytes(50))
    return film + hidden[int(rng.integers(len(hidden)))]


def other_type(film: bytes, rng: np.random.Generator) -> bytes:
    """What is no film: text, a page, a document, an archive, a program, another image."""
    others = (
        b"Dear colleague, please find the film attached.",
        b"<!doctype html><p>not found",
        b"%PDF-1.7\n" + film,
        b"PK\3\4" + film,
        b"\x7fELF" + rng.bytes(200),
        b"GIF89a" + rng.bytes(200),
        b"BM" + rng.bytes(200),
        b"\x1f\x8b" + rng.bytes(200),
    )
    return others[int(rng.integers(len(others)))]


def noise(film: bytes, rng: np.random.Generator) -> bytes:
    """The film's first bytes and then noise."""
    return film[: int(rng.integers(2, 200))] + rng.bytes(int(rng.integers(1, 4000)))


def empty(film: bytes, rng: np.random.Generator) -> bytes:
    """Nothing."""
    del film, rng
    return b""


def png_bomb(film: bytes, rng: np.random.Generator) -> bytes:
    """A PNG whose pixels inflate to a thousand times the file."""
    del film
    claimed = (8, 60_000)[int(rng.integers(2))]
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", claimed, claimed, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", _DEFLATED)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


_DEFLATED = zlib.compress(bytes(_BOMB), 9)
Maker = Callable[[bytes, np.random.Generator], bytes]
# Changes of a film that may leave it one.
CHANGES: tuple[Maker, ...] = (cut, flip_bits, flip_header, overwrite, shuffle, boast)
_MAKERS: dict[str, tuple[Maker, frozenset[int]]] = {
    **{str(change.__name__).replace("_", " "): (change, DOCUMENTED) for change in CHANGES},
    "broken DICOM tags": (break_dicom, DOCUMENTED),
    "noise": (noise, DOCUMENTED),
    "something appended": (append, frozenset({415})),
    "another type": (other_type, frozenset({415})),
    "empty": (empty, frozenset({400})),
    "bomb": (png_bomb, frozenset({200, 400, 413})),
}
