"""What identifies a patient is in no answer and in no line that the server prints, however much it logs."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

if TYPE_CHECKING:
    from tests.serving.conftest import Running

INSTANCE = "1.2.826.0.1.3680043.8.498.4711"
SECRETS = ("DOE", "Jane", "19700203", "HOSPITAL7", "PID-4711", INSTANCE, "geheim")


@pytest.fixture(scope="module")
def whole(draw_film: Callable[..., Image.Image]) -> bytes:
    """A film with a patient."""
    return dicom(np.asarray(draw_film(3, "PNEUMONIA")).astype(np.uint16) * 16)


def dicom(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]") -> bytes:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, INSTANCE
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "DOE^Jane", "PID-4711", "19700203"
    dataset.InstitutionName, dataset.SOPInstanceUID = "HOSPITAL7", INSTANCE
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    return saved(dataset)


def saved(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def of_syntax(syntax: str) -> Callable[[bytes], bytes]:
    def spoil(whole: bytes) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(whole))
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([b"DOE^Jane geheim " * 40])
        dataset["PixelData"].is_undefined_length = True
        return saved(dataset)

    return spoil


def name_cut(whole: bytes) -> bytes:
    at = whole.index(b"DOE^Jane") - 2
    return whole[:at] + b"\xff\xff" + whole[at + 2 :]


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "pixels cut off": lambda whole: whole[:-1000],
    "header cut off": lambda whole: whole[:420],
    "photometric interpretation": lambda whole: whole.replace(b"MONOCHROME2", b"HOSPITAL7\0\0"),
    "length of the name": name_cut,
    "rows that are a name": lambda whole: whole.replace(b"\x28\0\x10\0US", b"\x28\0\x10\0PN"),
    "bits": lambda whole: whole.replace(b"\x28\0\1\1US\2\0\x0c", b"\x28\0\1\1US\2\0\xff"),
    "syntax that is none": lambda whole: whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.7.7.7\0"),
    "JPEG": of_syntax(JPEGBaseline8Bit),
    "lossless JPEG": of_syntax(JPEGLosslessSV1),
    "JPEG-LS": of_syntax(JPEGLSLossless),
    "JPEG 2000": of_syntax(JPEG2000Lossless),
    "RLE": of_syntax(RLELossless),
}


def send(server: "Running", data: bytes) -> httpx.Response:
    files = {"file": ("DOE^Jane-geheim.dcm", data, "application/dicom")}
    return httpx.post(f"{server.url}/predict", files=files, params={"patient": "geheim"}, timeout=60)


def assert_silent(server: "Running", response: httpx.Response) -> None:
    said = response.text + str(response.headers) + server.text
    assert not [secret for secret in SECRETS if secret in said]


def test_a_film_with_a_patient_is_answered_without_a_word_about_the_patient(talkative: "Running", whole: bytes) -> None:
    response = send(talkative, whole)
    assert response.status_code == 200, response.text
    talkative.eventually(lambda: "POST /predict 200" in talkative.text)  # a moment after it has answered
    assert_silent(talkative, response)


@pytest.mark.parametrize("name", SPOILED)
def test_a_broken_film_is_refused_without_a_word_about_the_patient(
    talkative: "Running", whole: bytes, name: str
) -> None:
    spoiled = SPOILED[name](whole)
    assert spoiled != whole
    response = send(talkative, spoiled)
    assert response.status_code in (400, 415), response.text
    assert_silent(talkative, response)


def test_a_path_or_a_query_that_names_a_patient_is_not_logged(talkative: "Running") -> None:
    assert_silent(talkative, httpx.get(f"{talkative.url}/films/DOE^Jane?name=geheim"))
