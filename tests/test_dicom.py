"""Real DICOM files, written here, become radiographs; what is none is refused, and no error tells whose it is."""

import contextlib
import io
import struct
import subprocess
import sys
import traceback
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.images import Limits, image_size, is_dicom, read_radiograph

ROWS, COLUMNS = 48, 64
PATIENT = {
    "PatientName": "Meier^Anna",
    "PatientID": "MEIER-4711",
    "PatientBirthDate": "19991231",
    "AccessionNumber": "ACC4711",
    "InstitutionName": "Hospital of Meierstadt",
}
SECRETS = ("Meier", "MEIER", "4711", "19991231")
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def film(bits: int = 12, signed: bool = False) -> np.ndarray:
    """Smooth, without symmetry, over the whole range of that many bits."""
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    values = x * (1 - 0.5 * y) + 0.1 * np.sin(9 * x * y)
    scaled = np.rint((values - values.min()) / (values.max() - values.min()) * (2**bits - 1)).astype(np.int64)
    scaled -= 2 ** (bits - 1) if signed else 0
    return scaled.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def in_gray(stored: np.ndarray) -> np.ndarray:
    """The film as it is to be seen: its full range in 0..255."""
    values = stored.astype(float)
    return np.rint((values - values.min()) * 255 / (values.max() - values.min())).astype(np.uint8)


def make_dicom(
    pixels: np.ndarray | bytes | None,
    syntax: UID = ExplicitVRLittleEndian,
    bits: int = 12,
    vr: str | None = None,
    **elements: object,
) -> bytes:
    """A DX file of a patient. Bytes are an encoded frame; an element given as None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    allocated = 8 if bits <= 8 else 16
    image: dict[str, object] = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.826.0.1.4711",
        **PATIENT,
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(isinstance(pixels, np.ndarray) and pixels.dtype.kind == "i"),
    }
    for keyword, value in (image | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    if pixels is not None:
        little = "<" if syntax != ExplicitVRBigEndian else ">"
        native = b"" if isinstance(pixels, bytes) else pixels.astype(f"{little}{pixels.dtype.str[1:]}").tobytes()
        data = encapsulate([pixels]) if isinstance(pixels, bytes) else native
        bytewise = syntax.is_encapsulated or (bits <= 8 and syntax != ImplicitVRLittleEndian)
        dataset.add_new("PixelData", vr or ("OB" if bytewise else "OW"), data + b"\0" * (len(data) % 2))
        dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def encode(pixels: np.ndarray, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_name, **options)
    return file.getvalue()


def rle(pixels: np.ndarray) -> bytes:
    bits = 8 * pixels.itemsize
    about = {"rows": ROWS, "columns": COLUMNS, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": bits}
    about |= {"bits_stored": bits, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2"}
    return RLELosslessEncoder.encode(pixels.tobytes(), **about)


def compressed(bits: int) -> dict[UID, bytes]:
    """The film in each syntax for which an encoder comes with what the package itself needs."""
    files = {RLELossless: make_dicom(rle(film(bits)), RLELossless, bits)}
    files[JPEG2000Lossless] = make_dicom(encode(film(bits), "JPEG2000", no_jp2=True), JPEG2000Lossless, bits)
    return files


# --- What is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", NATIVE)
def test_native_pixels_of_any_depth_give_the_film(syntax: UID, bits: int, signed: bool) -> None:
    stored = film(bits, signed)
    assert np.array_equal(read_radiograph(make_dicom(stored, syntax, bits)).pixels, in_gray(stored))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("bits", [8, 16])
def test_compressed_pixels_give_the_film(syntax: UID, bits: int) -> None:
    assert np.array_equal(read_radiograph(compressed(bits)[syntax]).pixels, in_gray(film(bits)))


def test_compressed_negative_values_are_negative() -> None:
    stored = film(12, signed=True)
    data = make_dicom(rle(stored), RLELossless, PixelRepresentation=1)
    assert np.array_equal(read_radiograph(data).pixels, in_gray(stored))


def test_jpeg_ls_in_a_file_gives_the_film() -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    frame = jpeg_ls.encode_pixel_data(film().tobytes(), rows=ROWS, columns=COLUMNS, samples_per_pixel=1, bits_stored=12)
    assert np.array_equal(read_radiograph(make_dicom(bytes(frame), JPEGLSLossless)).pixels, in_gray(film()))


def test_a_frame_may_be_cut_into_fragments() -> None:
    frame = encode(film(8), "JPEG", quality=95)
    whole = make_dicom(frame, JPEGBaseline8Bit, 8)
    dataset = dcmread(io.BytesIO(whole))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3, has_bot=False)
    file = io.BytesIO()
    dataset.save_as(file)
    assert len(file.getvalue()) > len(whole)
    assert np.array_equal(read_radiograph(file.getvalue()).pixels, read_radiograph(whole).pixels)


def test_odd_8_bit_pixels_in_big_endian_words_are_in_order() -> None:
    stored = np.arange(15, dtype=np.uint8).reshape(3, 5)
    swapped = np.frombuffer(stored.tobytes() + b"\0", np.uint16).byteswap().view(np.uint8)
    data = make_dicom(swapped, ExplicitVRBigEndian, 8, "OW", Rows=3, Columns=5)
    assert np.array_equal(read_radiograph(data).pixels, in_gray(stored))


@pytest.mark.parametrize("signed", [False, True])
def test_what_lies_in_unused_bits_is_ignored(signed: bool) -> None:
    stored = film(12, signed)
    overlaid = ((stored.view(np.uint16) & 0x0FFF) | 0x5000).astype(np.uint16)
    data = make_dicom(overlaid, PixelRepresentation=int(signed))
    assert np.array_equal(read_radiograph(data).pixels, in_gray(stored))


@pytest.mark.parametrize("signed", [False, True])
def test_values_may_lie_in_the_high_bits(signed: bool) -> None:
    stored = film(12, signed)
    data = make_dicom((stored << 4) | 0b1010, HighBit=15)
    assert np.array_equal(read_radiograph(data).pixels, in_gray(stored))


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("values", ["OW", "US"])
def test_a_lookup_table_is_read_in_every_syntax(syntax: UID, sequence: str, values: str) -> None:
    stored = film(12, signed=True)
    entries = np.linspace(65535, 0, 4096).astype(np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [4096, -2048, 16])
    words = entries.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    item.add_new("LUTData", values, words if values == "OW" else entries.tolist())
    item.add_new("ModalityLUTType" if sequence == "ModalityLUTSequence" else "LUTExplanation", "LO", "inverts")
    pixels = read_radiograph(make_dicom(stored, syntax, **{sequence: [item]})).pixels
    assert np.abs(pixels.astype(int) - (255 - in_gray(stored))).max() <= 1


@pytest.mark.parametrize("syntax", NATIVE)
def test_window_rescale_padding_and_inversion_are_read_in_every_syntax(syntax: UID) -> None:
    stored = film(12, signed=True)
    display = {"WindowCenter": ["0", "99"], "WindowWidth": ["2048", "9"], "VOILUTFunction": "LINEAR_EXACT"}
    display |= {"RescaleSlope": "0.5", "RescaleIntercept": "10", "PixelPaddingValue": -2048}
    expected = 255 - np.rint(np.clip((stored * 0.5 + 10) / 2048 + 0.5, 0, 1) * 255).astype(np.uint8)
    expected[stored == -2048] = 0
    data = make_dicom(stored, syntax, PhotometricInterpretation="MONOCHROME1", **display)
    assert np.array_equal(read_radiograph(data).pixels, expected)


def test_a_dicom_file_names_its_format_and_size() -> None:
    radiograph = read_radiograph(make_dicom(film()), 32)
    assert (radiograph.width, radiograph.height, radiograph.format) == (COLUMNS, ROWS, "DICOM")
    assert radiograph.pixels.shape == (32, 32)


def test_a_shrunk_film_is_shrunk_as_any_other() -> None:
    png = encode(film(8), "PNG")
    assert np.array_equal(read_radiograph(make_dicom(film(8), bits=8), 24).pixels, read_radiograph(png, 24).pixels)


def test_the_size_is_read_without_decoding() -> None:
    assert image_size(make_dicom(b"no codestream", JPEG2000)) == (COLUMNS, ROWS)


def test_a_file_is_dicom_by_its_prefix_and_not_by_its_name(tmp_path: Path) -> None:
    assert is_dicom(make_dicom(film()))
    assert not is_dicom(encode(film(8), "PNG"))
    path = tmp_path / "film.png"
    path.write_bytes(make_dicom(film()))
    assert read_radiograph(path).format == "DICOM"


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_radiograph, image_size])
def test_several_frames_are_refused(read: object) -> None:
    data = make_dicom(np.stack([film(), film()]), NumberOfFrames=2)
    with pytest.raises(UnsupportedImageError, match="2 frames; send one radiograph"):
        read(data)


@pytest.mark.parametrize(("photometric", "samples"), [("RGB", 3), ("YBR_FULL", 3), ("PALETTE COLOR", 1)])
def test_colour_is_refused(photometric: str, samples: int) -> None:
    pixels = np.zeros((ROWS, COLUMNS, samples), np.uint8)
    data = make_dicom(
        pixels, bits=8, PhotometricInterpretation=photometric, SamplesPerPixel=samples, PlanarConfiguration=0
    )
    with pytest.raises(UnsupportedImageError, match="in colour"):
        read_radiograph(data)


@pytest.mark.parametrize(
    "report",
    [
        {"EncapsulatedDocument": b"%PDF-1.7", "MIMETypeOfEncapsulatedDocument": "application/pdf"},
        {"ValueType": "CONTAINER", "ContinuityOfContent": "SEPARATE"},
    ],
)
def test_what_holds_no_image_is_refused(report: dict[str, object]) -> None:
    nothing = dict.fromkeys(("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"))
    data = make_dicom(None, **(nothing | report))
    with pytest.raises(UnsupportedImageError, match="holds no image; send a radiograph"):
        read_radiograph(data)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, MPEG4HP41])
def test_a_transfer_syntax_that_is_not_read_is_named(syntax: UID) -> None:
    with pytest.raises(UnsupportedImageError) as caught:
        read_radiograph(make_dicom(b"\0" * 100, syntax))
    assert syntax.name in str(caught.value)
    assert "Export uncompressed" in str(caught.value)


def test_an_unknown_transfer_syntax_is_refused_without_quoting_it() -> None:
    data = make_dicom(film()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.276.4711.1.2.11\0")
    with pytest.raises(UnsupportedImageError, match="private or unknown") as caught:
        read_radiograph(data)
    assert "4711" not in str(caught.value)


def test_pixels_of_32_bits_are_refused() -> None:
    data = make_dicom(film().astype(np.uint32), BitsAllocated=32, BitsStored=32, HighBit=31)
    with pytest.raises(UnsupportedImageError, match="more than 16 bits"):
        read_radiograph(data)


@pytest.mark.parametrize("read", [read_radiograph, image_size])
def test_too_many_pixels_are_refused_before_any_is_decoded(read: object) -> None:
    with pytest.raises(ImageTooLargeError, match="65535 x 65535"):
        read(make_dicom(b"no codestream", JPEG2000, Rows=65_535, Columns=65_535))


def test_a_deflated_file_is_inflated_no_further_than_the_limit() -> None:
    plain = make_dicom(film(), DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]
    deflater = zlib.compressobj(wbits=-15)
    bomb = plain[:start] + deflater.compress(bytes(50_000_000)) + deflater.flush()
    assert len(bomb) < 100_000
    with pytest.raises(ImageTooLargeError, match="inflates to more than the 1,000,000 bytes"):
        read_radiograph(bomb, limits=Limits(max_bytes=1_000_000))


def test_a_header_of_endless_elements_is_refused() -> None:
    data = make_dicom(film())
    start = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    empty = b"".join(struct.pack("<HH2sH", 0x0009, number, b"LO", 0) for number in range(65536))
    with pytest.raises(DamagedImageError, match="pieces"):
        read_radiograph(data[:start] + empty * 5 + data[start:])


def test_a_sequence_of_endless_items_is_refused() -> None:
    data = make_dicom(film())
    start = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 200_000
    sequence = struct.pack("<HH2sHI", 0x0009, 0x1010, b"SQ", 0, 0xFFFFFFFF) + items
    with pytest.raises(DamagedImageError, match="DICOM header"):
        read_radiograph(data[:start] + sequence + data[start:])


@pytest.mark.parametrize(
    "elements",
    [
        {"BitsStored": 0},
        {"BitsStored": None},
        {"BitsAllocated": None},
        {"PixelRepresentation": None},
        {"Rows": ROWS + 1},
        {"WindowCenter": 40, "WindowWidth": 0},
        {"VOILUTSequence": [Dataset()]},
    ],
)
def test_a_file_that_contradicts_itself_is_called_damaged(elements: dict[str, object]) -> None:
    with pytest.raises(DamagedImageError):
        read_radiograph(make_dicom(film(), **elements))


def test_a_file_without_transfer_syntax_is_called_damaged() -> None:
    with pytest.raises(DamagedImageError, match="transfer syntax"):
        read_radiograph(bytes(128) + b"DICM")


# --- Damage and privacy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEG2000Lossless, JPEGBaseline8Bit])
def test_a_truncated_file_never_passes_for_a_whole_one(syntax: UID) -> None:
    if syntax in NATIVE:
        data = make_dicom(film(8), syntax, 8)
    elif syntax == JPEGBaseline8Bit:
        data = make_dicom(encode(film(8), "JPEG"), syntax, 8)
    else:
        data = compressed(8)[syntax]
    whole = read_radiograph(data).pixels
    for length in {*range(0, len(data), max(1, len(data) // 150)), *range(len(data) - 30, len(data))}:
        with contextlib.suppress(ImageError):
            # Nothing may be missing but what comes after the pixels.
            assert np.array_equal(read_radiograph(data[:length]).pixels, whole), length


SAMPLES = {
    "implicit": make_dicom(film(), ImplicitVRLittleEndian, WindowCenter=2000, WindowWidth=3000),
    "explicit": make_dicom(film(12, signed=True), RescaleSlope=1, RescaleIntercept=5, PixelPaddingValue=0),
    "big endian": make_dicom(film(), ExplicitVRBigEndian, PhotometricInterpretation="MONOCHROME1"),
    "deflated": make_dicom(film(8), DeflatedExplicitVRLittleEndian, 8),
    "RLE": compressed(16)[RLELossless],
    "JPEG": make_dicom(encode(film(8), "JPEG"), JPEGBaseline8Bit, 8),
    "JPEG 2000": compressed(16)[JPEG2000Lossless],
}


@pytest.mark.parametrize("kind", SAMPLES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_damaged_bits_give_a_radiograph_or_an_error_that_tells_nothing(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLES[kind])
    elements = max(damaged.rfind(b"\xe0\x7f\x10\0"), damaged.rfind(b"\x7f\xe0\0\x10"), 400)
    # Past the preamble; the elements before the pixels matter most.
    places = st.one_of(st.integers(128, len(damaged) - 1), st.integers(132, min(elements + 40, len(damaged) - 1)))
    for place, bit in data.draw(st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=8)):
        damaged[place] ^= 1 << bit
    try:
        radiograph = read_radiograph(bytes(damaged), limits=Limits(max_pixels=10**6))
        assert radiograph.pixels.shape == (radiograph.height, radiograph.width)
    except ImageError as error:
        told = "".join(traceback.format_exception(error)) + repr(error.__context__)
        assert not any(secret in told for secret in SECRETS)


def with_the_patient_for_a_number(keyword: str) -> bytes:
    """A file for which pydicom's own error quotes the patient's name."""
    elements = {"WindowCenter": "1", "WindowWidth": "9", "RescaleIntercept": "0", keyword: "1234567890"}
    return make_dicom(film(), **elements).replace(b"1234567890", b"Meier^Anna")


@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleSlope", "NumberOfFrames"])
def test_an_error_keeps_nothing_of_what_a_library_quotes(keyword: str) -> None:
    with pytest.raises(DamagedImageError) as caught:
        read_radiograph(with_the_patient_for_a_number(keyword))
    assert "Meier" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("keyword", ["WindowCenter", "NumberOfFrames"])
def test_nothing_of_a_damaged_file_reaches_the_log(keyword: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(with_the_patient_for_a_number(keyword))
    code = "import sys; from pneumonia.images import read_radiograph; read_radiograph(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "DamagedImageError" in done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)


def test_warnings_that_quote_the_patient_stay_unsaid(recwarn: pytest.WarningsRecorder) -> None:
    with contextlib.suppress(ImageError):
        read_radiograph(with_the_patient_for_a_number("NumberOfFrames"))
    assert not [str(warning.message) for warning in recwarn]


@pytest.mark.parametrize("cut", [10, 100, 500])
def test_a_file_that_ends_within_its_pixels_is_called_damaged(cut: int) -> None:
    for data in SAMPLES.values():
        with pytest.raises(DamagedImageError):
            read_radiograph(data[:-cut])
