"""How a DICOM film lies and how large it is, without a word of whose it is."""

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from pneumonia.demo.dicom_geometry import Geometry, direction_of, geometry, opposite, read_geometry

DIRECTIONS = st.text("LRAPHF", min_size=1, max_size=3)


def dicom(**elements: Any) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "4711", "DX"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 6, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = np.zeros((4, 6), dtype=np.uint8).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(**elements: Any) -> Geometry:
    found = read_geometry(dicom(**elements))
    assert found is not None
    return found


def test_a_frontal_film_has_the_patients_right_on_its_left() -> None:
    assert read(PatientOrientation=["L", "F"]).marks == ("H", "L", "F", "R")


def test_orientation_is_computed_where_it_is_not_stated() -> None:
    assert read(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]).marks == ("H", "L", "F", "R")


def test_what_is_stated_comes_before_what_is_computed() -> None:
    assert read(PatientOrientation=["A", "F"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]).marks[1] == "A"


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PatientOrientation": ["L"]},
        {"PatientOrientation": ["DOE", "JANE"]},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    ],
)
def test_orientation_that_makes_no_sense_is_left_out(elements: dict[str, Any]) -> None:
    assert read(**elements).marks == ("", "", "", "")


def test_spacing_of_the_detector_is_said_to_be_its() -> None:
    assert read(ImagerPixelSpacing=[0.2, 0.1]).spacing == (0.2, 0.1)
    assert read(ImagerPixelSpacing=[0.2, 0.1]).at_detector


def test_calibrated_spacing_comes_first_unless_it_is_a_copy() -> None:
    calibrated = read(PixelSpacing=[0.1, 0.1], ImagerPixelSpacing=[0.2, 0.2])
    assert (calibrated.spacing, calibrated.at_detector) == ((0.1, 0.1), False)
    copied = read(PixelSpacing=[0.2, 0.2], ImagerPixelSpacing=[0.2, 0.2])
    assert (copied.spacing, copied.at_detector) == ((0.2, 0.2), True)


@pytest.mark.parametrize("spacing", [[0, 0], [-0.1, 0.1], [1000, 1000], [0.1]])
def test_spacing_that_makes_no_sense_is_left_out(spacing: list[float]) -> None:
    assert read(ImagerPixelSpacing=spacing).spacing is None


def test_side_and_view_are_words_of_the_standard_or_nothing() -> None:
    assert read(ViewPosition="PA", Laterality="R").view == "PA"
    assert read(ViewPosition="PA", Laterality="R").side == "R"
    assert read(ViewPosition="DOE JANE", ImageLaterality="J").view == ""
    assert read(ViewPosition="DOE JANE", ImageLaterality="J").side == ""


def test_nothing_that_identifies_anyone_is_read() -> None:
    found = repr(read(PatientOrientation=["Doe", "Jane"], ViewPosition="4711"))
    assert "Doe" not in found
    assert "4711" not in found


@pytest.mark.parametrize("data", [b"", b"no film", b"\x89PNG", dicom()[:140]])
def test_what_is_no_dicom_has_no_geometry(data: bytes) -> None:
    assert read_geometry(data) in (None, Geometry())


def test_an_element_that_fails_when_it_is_decoded_is_left_out() -> None:
    class Hostile:
        def get(self, keyword: str) -> Any:
            raise RuntimeError("Doe^Jane")

    assert geometry(Hostile()) == Geometry()


@given(DIRECTIONS)
def test_the_opposite_of_the_opposite_is_the_direction(direction: str) -> None:
    assert opposite(opposite(direction)) == direction
    assert opposite(direction) != direction


@given(st.tuples(*[st.floats(-1, 1)] * 3))
def test_a_direction_turned_round_is_its_opposite(cosines: tuple[float, float, float]) -> None:
    turned = direction_of([-value for value in cosines])
    assert sorted(turned) == sorted(opposite(direction_of(cosines)))
