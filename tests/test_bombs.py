"""Small files that inflate to something huge are refused, or read, without the memory that they ask for."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from tests.test_dicom import film as dicom_film
from tests.test_dicom import make_dicom
from tests.test_images import png, tiff

HUGE = 400 * 2**20
ALLOWED = 100 * 2**20
# The process's peak before and after, with what came of the file.
MEASURE = """
import resource, sys
from pneumonia.errors import ImageError
from pneumonia.images import read_radiograph
from pneumonia import dicom, raster
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
data, before = open(sys.argv[1], "rb").read(), peak()
try:
    outcome = read_radiograph(data).pixels.shape
except ImageError as error:
    outcome = error.code
print(peak() - before, outcome)
"""


def deflated(size: int) -> bytes:
    """So many zeros, a thousandth as long."""
    packer, block = zlib.compressobj(9), bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size // 2**20)) + packer.flush()


def tiff_that_inflates(content: bytes) -> bytes:
    """A TIFF of 8 x 8 pixels, whose one deflated strip holds much more."""
    plain = tiff(np.zeros((8, 8), np.uint8))
    data = plain[:-64] + content
    data = data.replace(struct.pack("<HHII", 259, 4, 1, 1), struct.pack("<HHII", 259, 4, 1, 8))
    return data.replace(struct.pack("<HHII", 279, 4, 1, 64), struct.pack("<HHII", 279, 4, 1, len(content)))


def webp_of_one_gray() -> bytes:
    file = io.BytesIO()
    Image.new("L", (16_000, 16_000)).save(file, "WEBP", lossless=True, method=0, quality=0)
    return file.getvalue()


def dicom_that_inflates(content: bytes) -> bytes:
    """A deflated DICOM file whose data set is nothing but zeros."""
    whole = make_dicom(dicom_film(), DeflatedExplicitVRLittleEndian)
    (meta_length,) = struct.unpack_from("<I", whole, 140)
    raw = content[2:-4]  # without zlib's own header and checksum
    return whole[: 144 + meta_length] + raw


def bombs() -> dict[str, bytes]:
    content = deflated(HUGE)
    return {
        "PNG of more pixels than it says": png(8, 8, (b"IDAT", content)),
        "PNG with a comment": png(8, 8, (b"zTXt", b"a\0\0" + content), (b"IDAT", zlib.compress(bytes(72)))),
        "PNG with a profile": png(8, 8, (b"iCCP", b"a\0\0" + content), (b"IDAT", zlib.compress(bytes(72)))),
        "TIFF of more pixels than it says": tiff_that_inflates(content),
        "DICOM that is deflated": dicom_that_inflates(content),
        "DICOM of more pixels than it has": make_dicom(dicom_film(), ExplicitVRLittleEndian, Rows=65535, Columns=65535),
        "WebP of 256 million pixels": webp_of_one_gray(),
    }


@pytest.mark.slow
def test_no_bomb_takes_the_memory_that_it_asks_for(tmp_path: Path) -> None:
    outcomes = {}
    for name, data in bombs().items():
        assert len(data) < 2**20, name
        path = tmp_path / "bomb"
        path.write_bytes(data)
        done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
        grown, _, outcome = done.stdout.strip().partition(" ")
        assert int(grown) < ALLOWED, (name, grown, outcome)
        outcomes[name] = outcome
    assert outcomes["DICOM that is deflated"] == "image_too_large"
    assert outcomes["WebP of 256 million pixels"] == "image_too_large"
    assert outcomes["DICOM of more pixels than it has"] == "image_too_large"
