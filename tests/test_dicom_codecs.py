"""Frames of every transfer syntax decode to their stored values; those that lie or are damaged raise an error."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pneumonia.dicom_codecs import decode_frame
from pneumonia.errors import DamagedImageError
from pneumonia.gdcm_process import decode as decode_with_gdcm

ROWS, COLUMNS = 48, 64
Encoder = Callable[[np.ndarray, int, UID], bytes]


def film(bits: int) -> np.ndarray:
    """Smooth, without symmetry, from 0 to the largest value of that many bits."""
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    values = x * (1 - 0.5 * y) + 0.1 * np.sin(9 * x * y)
    scaled = np.rint((values - values.min()) / (values.max() - values.min()) * (2**bits - 1))
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.fixture
def encode(tmp_path: Path) -> Encoder:
    """GDCM as an encoder: the first frame of the film in that transfer syntax."""
    gdcm = pytest.importorskip("gdcm")

    def encode_with_gdcm(pixels: np.ndarray, bits: int, syntax: UID) -> bytes:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.itemsize, bits, bits - 1
        dataset.PixelRepresentation = 0
        dataset.add_new("PixelData", "OW", pixels.tobytes())
        dataset.save_as(tmp_path / "native.dcm", enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(tmp_path / "native.dcm"))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(tmp_path / "encoded.dcm"))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return get_frame(pydicom.dcmread(tmp_path / "encoded.dcm").PixelData, 0, number_of_frames=1)

    return encode_with_gdcm


def encode_jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def jpeg_of_12_bits(blocks: np.ndarray) -> bytes:
    """A JPEG of flat blocks of 8 x 8 pixels (ITU-T T.81, process 4): Pillow and GDCM write none of 12 bits.

    A quantisation of 8 makes the first coefficient of a block its value less 2048. It is coded as a category, of four
    bits, and the difference to the block before in as many bits as the category says; one bit 0 ends the block.
    """
    bits, before = "", 2048
    for value in blocks.ravel().tolist():
        difference, before = value - before, value
        category = abs(difference).bit_length()
        digits = difference if difference > 0 else difference + 2**category - 1
        bits += f"{category:04b}" + (f"{digits:0{category}b}" if category else "") + "0"
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    rows, columns = (8 * count for count in blocks.shape)
    segments = [
        (0xDB, bytes([0]) + bytes([8] * 64)),
        (0xC1, struct.pack(">BHHB", 12, rows, columns, 1) + bytes([1, 0x11, 0])),
        (0xC4, bytes([0x00, 0, 0, 0, 13, *[0] * 12, *range(13)])),  # categories 0 to 12, each a code of four bits
        (0xC4, bytes([0x10, 1, *[0] * 15, 0])),  # the end of a block, a code of one bit
        (0xDA, bytes([1, 1, 0, 0, 63, 0])),
    ]
    header = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + header + scan + b"\xff\xd9"


def encode_jpeg_ls(pixels: np.ndarray, bits: int, error: int = 0) -> bytes:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    about = {"rows": ROWS, "columns": COLUMNS, "samples_per_pixel": 1, "bits_stored": bits}
    return bytes(jpeg_ls.encode_pixel_data(pixels.tobytes(), lossy_error=error, **about))


def encode_jpeg_2000(pixels: np.ndarray, bits: int, **options: object) -> bytes:
    openjpeg = pytest.importorskip("openjpeg.utils")
    return bytes(openjpeg.encode_array(pixels, bits_stored=bits, photometric_interpretation=2, **options))


def encode_rle(pixels: np.ndarray) -> bytes:
    about = {"rows": ROWS, "columns": COLUMNS, "samples_per_pixel": 1, "number_of_frames": 1}
    bits = 8 * pixels.itemsize
    about |= {"bits_allocated": bits, "bits_stored": bits, "pixel_representation": 0}
    return RLELosslessEncoder.encode(pixels.tobytes(), photometric_interpretation="MONOCHROME2", **about)


def decode(frame: bytes, syntax: UID, bits: int = 16, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    return decode_frame(frame, syntax, rows, columns, bits)


@pytest.mark.parametrize("bits", [8, 16])
def test_rle_gives_the_stored_values(bits: int) -> None:
    assert np.array_equal(decode(encode_rle(film(bits)), RLELossless), film(bits))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_jpeg_of_8_bits_gives_nearly_the_stored_values(syntax: UID) -> None:
    difference = decode(encode_jpeg(film(8)), syntax).astype(int) - film(8)
    assert np.abs(difference).max() <= 8


def test_jpeg_of_12_bits_gives_the_stored_values() -> None:
    blocks = np.array([[0, 4095, 2048, 1, 4094], [4095, 0, 100, 1000, 3000]])
    decoded = decode(jpeg_of_12_bits(blocks), JPEGExtended12Bit, 12, rows=16, columns=40)
    assert np.array_equal(decoded, np.kron(blocks, np.ones((8, 8))))


def test_jpeg_of_12_bits_as_a_camera_wrote_it_is_decoded() -> None:
    path = get_testdata_file("JPEG-lossy.dcm", download=False)
    if path is None:
        pytest.skip("this pydicom comes without its test files")
    dataset = pydicom.dcmread(path)
    decoded = decode(get_frame(dataset.PixelData, 0), JPEGExtended12Bit, 12, dataset.Rows, dataset.Columns)
    # As libjpeg-turbo 3 decodes it.
    assert (decoded.min(), decoded.max(), round(float(decoded.mean()), 2)) == (0, 264, 14.37)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_lossless_jpeg_gives_the_stored_values(encode: Encoder, bits: int, syntax: UID) -> None:
    assert np.array_equal(decode(encode(film(bits), bits, syntax), syntax), film(bits))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_jpeg_ls_gives_the_stored_values(bits: int) -> None:
    assert np.array_equal(decode(encode_jpeg_ls(film(bits), bits), JPEGLSLossless), film(bits))


def test_what_runs_in_a_process_of_its_own_runs_in_this_one_too() -> None:
    values = decode_with_gdcm(encode_jpeg_ls(film(12), 12), str(JPEGLSLossless), COLUMNS, ROWS, 12)
    assert np.array_equal(np.frombuffer(values, np.uint16).reshape(ROWS, COLUMNS), film(12))


@pytest.mark.parametrize("bits", [8, 12])
def test_nearly_lossless_jpeg_ls_keeps_its_promise(bits: int) -> None:
    decoded = decode(encode_jpeg_ls(film(bits), bits, error=3), JPEGLSNearLossless)
    assert np.abs(decoded.astype(int) - film(bits)).max() == 3


@pytest.mark.parametrize("bits", [5, 8, 10, 12, 16])
def test_lossless_jpeg_2000_gives_the_stored_values(bits: int) -> None:
    assert np.array_equal(decode(encode_jpeg_2000(film(bits), bits), JPEG2000Lossless), film(bits))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg_2000_gives_negative_values(bits: int) -> None:
    signed = (film(bits).astype(int) - 2 ** (bits - 1)).astype(np.int8 if bits <= 8 else np.int16)
    decoded = decode(encode_jpeg_2000(signed, bits), JPEG2000Lossless)
    assert np.array_equal(decoded.view(np.int16), signed)


def test_lossy_jpeg_2000_gives_nearly_the_stored_values() -> None:
    decoded = decode(encode_jpeg_2000(film(12), 12, compression_ratios=[4]), JPEG2000)
    assert np.abs(decoded.astype(int) - film(12)).max() <= 16


@pytest.mark.parametrize("signed", [True, False])
def test_what_lossy_compression_overshoots_is_cut_off(signed: bool) -> None:
    # White squares on black, of 12 bits in a codestream of 16: beside their edges values leave the 12 bits.
    squares = (np.indices((ROWS, COLUMNS)) // 5).sum(0) % 2 * 4095 - (2048 if signed else 0)
    frame = encode_jpeg_2000(squares.astype(np.int16 if signed else np.uint16), 16, compression_ratios=[20])
    whole, cut = (decode(frame, JPEG2000, bits).view(np.int16).astype(int) for bits in (16, 12))
    assert whole.max() - whole.min() > 4095
    assert np.array_equal(cut, np.clip(whole, squares.min(), squares.max()))


def test_jpeg_2000_in_a_jp2_file_is_found() -> None:
    file = io.BytesIO()
    Image.fromarray(film(8)).save(file, "JPEG2000")
    assert file.getvalue().startswith(b"\0\0\0\x0cjP")
    assert np.array_equal(decode(file.getvalue(), JPEG2000Lossless), film(8))


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 100, b"\xff"])
def test_padding_after_the_end_of_an_image_does_no_harm(padding: bytes) -> None:
    frame = encode_jpeg(film(8))
    assert np.array_equal(decode(frame + padding, JPEGBaseline8Bit), decode(frame, JPEGBaseline8Bit))


# --- Codestreams that do not say what the DICOM file says -----------------------------------------------------------


def with_size(frame: bytes, marker: bytes, layout: str, offset: int, width: int, height: int) -> bytes:
    """The frame with another size in its own header."""
    changed = bytearray(frame)
    first, second = (width, height) if layout == ">II" else (height, width)
    struct.pack_into(layout, changed, frame.index(marker) + offset, first, second)
    return bytes(changed)


@pytest.mark.parametrize("size", [(65_535, 65_535), (COLUMNS, ROWS + 1), (COLUMNS - 1, ROWS), (ROWS, COLUMNS)])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    encode: Encoder, syntax: UID, size: tuple[int, int]
) -> None:
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    frame = encode(film(bits), bits, syntax)
    if syntax == JPEG2000:
        frame = with_size(frame, b"\xff\x51", ">II", 6, *size)
    else:
        marker = {JPEGBaseline8Bit: b"\xff\xc0", JPEGLosslessSV1: b"\xff\xc3"}
        frame = with_size(frame, marker.get(syntax, b"\xff\xf7"), ">HH", 5, *size)
    with pytest.raises(DamagedImageError, match=f"is {size[0]} x {size[1]} pixels .* says {COLUMNS} x {ROWS}"):
        decode(frame, syntax)


def test_lossy_jpeg_of_16_bits_which_no_standard_knows_is_refused(encode: Encoder) -> None:
    with pytest.raises(DamagedImageError, match="of 16 bits"):
        decode(encode(film(12), 12, JPEGExtended12Bit), JPEGExtended12Bit)  # what GDCM writes for 12


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000])
def test_a_codestream_in_colour_is_refused(syntax: UID) -> None:
    file = io.BytesIO()
    Image.fromarray(film(8)).convert("RGB").save(file, "JPEG" if syntax == JPEGBaseline8Bit else "JPEG2000")
    with pytest.raises(DamagedImageError, match="3 components"):
        decode(file.getvalue(), syntax)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_kind_is_refused(syntax: UID) -> None:
    other = {JPEGBaseline8Bit: encode_jpeg(film(8), progressive=True), JPEG2000Lossless: encode_jpeg(film(8))}
    with pytest.raises(DamagedImageError, match=r"is no JPEG 2000|another kind of JPEG"):
        decode(other.get(syntax, encode_jpeg(film(8))), syntax)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize("frame", [b"", b"\0" * 64, b"GIF89a"])
def test_what_is_no_jpeg_is_refused(frame: bytes, syntax: UID) -> None:
    with pytest.raises(DamagedImageError, match="no JPEG"):
        decode(frame, syntax)


# --- Damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("part", [0.05, 0.3, 0.7, 0.98])
def test_a_truncated_codestream_is_an_error(encode: Encoder, syntax: UID, part: float) -> None:
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    frame = encode(film(bits), bits, syntax)
    with pytest.raises((DamagedImageError, struct.error)):
        decode(frame[: int(len(frame) * part)], syntax)


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("bits", [8, 16])
def test_truncated_rle_is_an_error(bits: int, part: float) -> None:
    frame = encode_rle(film(bits))
    with pytest.raises((DamagedImageError, struct.error)):
        decode(frame[: int(len(frame) * part)], RLELossless)


@pytest.mark.parametrize("count", [0, 3, 15, 2**32 - 1])
def test_rle_of_another_number_of_segments_is_an_error(count: int) -> None:
    frame = bytearray(encode_rle(film(8)))
    struct.pack_into("<I", frame, 0, count)
    with pytest.raises(DamagedImageError, match="RLE"):
        decode(bytes(frame), RLELossless)


def test_rle_unpacks_no_more_than_the_image_holds() -> None:
    # Whole, both segments would unpack to 1.3 GB.
    bomb = struct.pack("<16I", 2, 64, 64 + 10_000_000, *[0] * 13) + b"\x81\x07" * 10_000_000
    assert np.array_equal(decode(bomb, RLELossless), np.full((ROWS, COLUMNS), 0x0707))


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_a_header_whose_markers_are_damaged_is_refused_before_it_is_decoded(encode: Encoder, syntax: UID) -> None:
    # Given this, some versions of GDCM abort the process, others decode something else.
    frame = bytearray(encode(film(16), 16, syntax))
    table = frame.index(b"\xff\xc4" if syntax == JPEGLosslessSV1 else b"\xff\xf8")
    frame[table] = 0xBF
    with pytest.raises(DamagedImageError, match="header is damaged"):
        decode(bytes(frame), syntax)


def test_damage_that_gdcm_notices_is_an_error(encode: Encoder) -> None:
    frame = bytearray(encode(film(16), 16, JPEGLSLossless))
    frame[frame.index(b"\xff\xda") + 10 :] = b"\xff\xd9"
    with pytest.raises(DamagedImageError, match=r"JPEG-LS.*is damaged"):
        decode(bytes(frame), JPEGLSLossless)


@pytest.mark.slow
def test_bytes_that_make_gdcm_hang_cost_some_seconds_and_no_more(encode: Encoder) -> None:
    y, x = np.mgrid[0:64, 0:96]
    frame = bytearray(encode(((x * x + y * y) % 4096).astype(np.uint16), 12, JPEGLSLossless))
    scan, preset = frame.index(b"\xff\xda"), frame.index(b"\xff\xf8")
    frame[preset + 13 : preset + 15] = b"\x60\0"  # RESET
    frame[scan + 7] = 0x80  # NEAR
    frame[scan + 10 : scan + 400] = b"\x55" * 390
    with pytest.raises(DamagedImageError, match=r"JPEG-LS.*is damaged"):
        decode(bytes(frame), JPEGLSLossless, 12, 64, 96)
