"""What memory the largest films take that a deployment admits, and the page: docs/memory.json, for deploy/sizing.py.

Each film is noise of as many pixels as are asked for, in a format that is known for taking much, and is decoded in a
process of its own, whose peak is what counts.

    python -m benchmarks.memory
"""

import argparse
import concurrent.futures
import io
import multiprocessing
import re
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from benchmarks.page_process import wait_until_it_answers
from benchmarks.server_process import PROJECT, free_port, pneumonia_serve, serve
from pneumonia.bundle import REFERENCE
from pneumonia.files import write_json
from pneumonia.images import read_radiograph

_WIDTH = 8000
_MEBIBYTE = 2**20
_SECONDS_FOR_PAGE = 120.0


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=32_000_000, help="of each film")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "memory.json")
    options = parser.parse_args()
    height = max(1, options.pixels // _WIDTH)
    films = {"PNG": png(height, 1), "PNG, RGB": png(height, 3), "JPEG": jpeg(height), "DICOM, 16 bits": dicom(height)}
    decode = {name: {"file_mib": len(film) / _MEBIBYTE, "peak_mib": peak(film)} for name, film in films.items()}
    report = {"pixels": height * _WIDTH, "decode": decode, "page_mib": page_memory()}
    write_json(options.output, report)
    print(options.output.read_text(encoding="utf-8"))


def png(height: int, channels: int) -> bytes:
    """A PNG of noise, which repeats so that the file stays small."""
    pixels = _noise(height)
    return _encoded(Image.fromarray(pixels if channels == 1 else np.stack([pixels] * channels, axis=-1)), "PNG")


def jpeg(height: int) -> bytes:
    """A grayscale JPEG of noise."""
    return _encoded(Image.fromarray(_noise(height)), "JPEG")


def dicom(height: int) -> bytes:
    """A DICOM file of 16 bits a pixel, not compressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    content.SOPClassUID, content.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    content.Modality, content.PhotometricInterpretation, content.SamplesPerPixel = "DX", "MONOCHROME2", 1
    content.Rows, content.Columns = height, _WIDTH
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 16, 12, 11, 0
    content.PixelData = _noise(height).astype("<u2").tobytes()
    buffer = io.BytesIO()
    content.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def peak(film: bytes) -> float:
    """MiB by which a new process grows, at most, that has the file and decodes it."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        before = pool.submit(_resident).result()
        return pool.submit(_peak_after, film).result() - before


def page_memory() -> float:
    """MiB that the page's process has resident when it has shown itself once."""
    page = free_port()
    with serve(pneumonia_serve(REFERENCE, "--workers", "1", "--demo", "--demo-port", str(page))) as server:
        wait_until_it_answers(f"http://127.0.0.1:{page}/", _SECONDS_FOR_PAGE)
        children = psutil.Process(server.process.pid).children(recursive=True)
        (shown,) = [each for each in children if "demo" in each.cmdline()]
        return float(shown.memory_info().rss) / _MEBIBYTE


def _noise(height: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Levels that repeat within the window of PNG's compression, so that the file is small and its pixels are not."""
    tile = np.random.default_rng(0).integers(0, 255, (1, 100), dtype=np.uint8)
    return np.tile(tile, (height, _WIDTH // 100))


def _encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def _resident() -> float:
    """The most that this process has had since its program began, by Linux's count."""
    (kibibytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    return float(kibibytes) / 1024


def _peak_after(film: bytes) -> float:
    read_radiograph(film)
    return _resident()


if __name__ == "__main__":
    main()
