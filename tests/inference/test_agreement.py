"""Server, command line and predictor say the same of the same file, whatever its format."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pneumonia.bundle import load_bundle
from pneumonia.inference.predictor import Predictor

Command = Callable[..., Any]

TOLERANCE = 1e-4


def assert_agree(paths: list[Path], server: str, command: Command, bundle: Path) -> list[float]:
    result = command("classify", *paths, "--json", "--bundle", bundle)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in paths]
    predictor = Predictor(load_bundle(bundle))
    own = [predictor.predict([predictor.read(path.read_bytes())])[0] for path in paths]

    with httpx.Client(base_url=server, timeout=60) as client, ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda path: client.post("/predict", files={"file": path.read_bytes()}), paths))
    assert {response.status_code for response in responses} == {200}
    served = [response.json() for response in responses]
    expected = [one.probability for one in own]
    assert [line["probability"] for line in lines] == pytest.approx(expected, abs=TOLERANCE)
    assert [answer["probability"] for answer in served] == pytest.approx(expected, abs=TOLERANCE)
    for line, answer, one in zip(lines, served, own, strict=True):
        assert line["prediction"] == answer["prediction"] == one.prediction
        assert line["model"] == answer["model"] == one.model
        scores = [checked.pop("score") for checked in (line["input_check"], answer["input_check"])]
        assert scores[0] == pytest.approx(scores[1], abs=TOLERANCE)
        assert line["input_check"] == answer["input_check"]
        assert line["prediction_set"] == answer["prediction_set"] == one.prediction_set
    return expected


def test_they_agree_on_every_film_of_a_tree(tree: Path, server: str, command: Command, bundle_dir: Path) -> None:
    probabilities = assert_agree(sorted(tree.rglob("*.jpeg")), server, command, bundle_dir)
    assert max(probabilities) - min(probabilities) > 20 * TOLERANCE


def test_they_agree_on_every_format(
    tmp_path: Path, draw_film: Callable[..., Image.Image], server: str, command: Command, bundle_dir: Path
) -> None:
    film = draw_film(7, "PNEUMONIA", 300, 260)
    deep = Image.fromarray(np.asarray(film).astype(np.uint16) * 257)
    options: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "film.jpeg": (film, {"quality": 90}),
        "progressive.jpg": (film, {"quality": 80, "progressive": True}),
        "colour.jpg": (film.convert("RGB"), {"quality": 95}),
        "film.png": (film, {}),
        "palette.png": (film.convert("P"), {}),
        "alpha.png": (film.convert("RGBA"), {}),
        "deep.png": (deep, {}),
        "film.tiff": (film, {"compression": "tiff_lzw"}),
        "deep.tif": (deep, {}),
        "film.webp": (film, {"lossless": True}),
    }
    for name, (image, how) in options.items():
        image.save(tmp_path / name, **how)
    (tmp_path / "film.dcm").write_bytes(dicom(film))
    assert_agree([*(tmp_path / name for name in options), tmp_path / "film.dcm"], server, command, bundle_dir)


@pytest.mark.slow
def test_they_agree_on_every_real_film_of_the_validation_folder(
    mirror: Path, server: str, command: Command, bundle_dir: Path
) -> None:
    assert_agree(sorted((mirror / "val").rglob("*.jpeg")), server, command, bundle_dir)


def dicom(film: Image.Image) -> bytes:
    import pydicom
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta, dataset.SOPInstanceUID = meta, "1.2.3"
    dataset.Columns, dataset.Rows = film.size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = (np.asarray(film).astype(np.uint16) * 16).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
