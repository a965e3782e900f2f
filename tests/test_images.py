"""Files of every kind become the radiograph they show, or an error that says why not."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.images import DEFAULT_LIMITS, Limits, image_size, read_radiograph, scale_to_uint8

# Pillow warns of the metadata that these tests damage.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

WIDTH, HEIGHT = 70, 50


def film(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A film without any symmetry: smooth, from 0 to 255, with one bright disc."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    disc = (x - 0.3) ** 2 + (y - 0.6) ** 2 < 0.04
    return np.rint(np.where(disc, 255, 200 * x * (1 - 0.6 * y))).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, format_name: str, **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def tiff(
    pixels: np.ndarray, photometric: int = 1, big_endian: bool = False, claimed: tuple[int, int] | None = None
) -> bytes:
    """An uncompressed TIFF, written by hand: Pillow writes neither WhiteIsZero nor a header that lies."""
    order = ">" if big_endian else "<"
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    rows, columns = pixels.shape
    width, height = claimed or (columns, rows)
    tags = [(256, width), (257, height), (258, pixels.dtype.itemsize * 8), (259, 1), (262, photometric)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (277, 1), (278, rows), (279, len(data))]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    magic = b"MM\0*" if big_endian else b"II*\0"
    return magic + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + data


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A gray PNG with these chunks between header and end."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def gray_levels_between(low: int, high: int) -> np.ndarray:
    return np.rint(low + film() / 255.0 * (high - low)).astype(np.uint16)


GRAY = Image.fromarray(film())
SAMPLES = {
    "JPEG": encode(GRAY, "JPEG", quality=95),
    "progressive JPEG": encode(GRAY, "JPEG", quality=95, progressive=True),
    "PNG": encode(GRAY, "PNG"),
    "TIFF": encode(GRAY, "TIFF"),
    "deflated TIFF": encode(GRAY, "TIFF", compression="tiff_adobe_deflate"),
    "WebP": encode(GRAY, "WEBP", lossless=True),
}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(GRAY, "PNG"), id="gray PNG"),
        pytest.param(encode(GRAY.convert("RGB"), "PNG"), id="RGB PNG"),
        pytest.param(encode(GRAY.convert("RGBA"), "PNG"), id="opaque RGBA PNG"),
        pytest.param(encode(GRAY.convert("LA"), "PNG"), id="opaque LA PNG"),
        pytest.param(encode(GRAY.convert("P"), "PNG"), id="palette PNG"),
        pytest.param(encode(GRAY, "TIFF"), id="gray TIFF"),
        pytest.param(encode(GRAY, "TIFF", compression="tiff_lzw"), id="LZW TIFF"),
        pytest.param(encode(GRAY, "TIFF", compression="packbits"), id="PackBits TIFF"),
        pytest.param(encode(GRAY, "TIFF", big_tiff=True), id="BigTIFF"),
        pytest.param(encode(GRAY.convert("RGB"), "TIFF"), id="RGB TIFF"),
        pytest.param(encode(GRAY.convert("CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(tiff(film()), id="little-endian TIFF"),
        pytest.param(tiff(film(), big_endian=True), id="big-endian TIFF"),
        pytest.param(tiff(255 - film(), photometric=0), id="WhiteIsZero TIFF"),
        pytest.param(encode(gray_levels_between(0, 65535), "PNG"), id="16-bit PNG"),
        pytest.param(tiff(gray_levels_between(0, 65535)), id="16-bit TIFF"),
        pytest.param(tiff(gray_levels_between(0, 65535), big_endian=True), id="16-bit big-endian TIFF"),
        pytest.param(tiff(65535 - gray_levels_between(0, 65535), photometric=0), id="16-bit WhiteIsZero TIFF"),
        pytest.param(encode(gray_levels_between(0, 4095), "PNG"), id="12 bits in a 16-bit PNG"),
        pytest.param(encode(GRAY, "WEBP", lossless=True), id="WebP"),
        pytest.param(encode(GRAY.convert("RGBA"), "WEBP", lossless=True), id="opaque RGBA WebP"),
    ],
)
def test_a_lossless_file_of_any_kind_gives_the_film(data: bytes) -> None:
    difference = np.abs(read_radiograph(data).pixels.astype(int) - film())
    assert difference.max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(GRAY, "JPEG", quality=95), id="gray"),
        pytest.param(encode(GRAY.convert("RGB"), "JPEG", quality=95), id="YCbCr"),
        pytest.param(encode(GRAY.convert("RGB"), "JPEG", quality=95, keep_rgb=True), id="RGB"),
        pytest.param(encode(GRAY.convert("CMYK"), "JPEG", quality=95), id="CMYK"),
        pytest.param(encode(GRAY, "JPEG", quality=95, progressive=True), id="progressive"),
        pytest.param(encode(GRAY, "MPO", quality=95, save_all=True, append_images=[GRAY]), id="a camera's MPO"),
        pytest.param(encode(GRAY, "WEBP", quality=95), id="lossy WebP"),
    ],
)
def test_a_lossy_file_of_any_kind_gives_nearly_the_film(data: bytes) -> None:
    assert np.abs(read_radiograph(data).pixels.astype(int) - film()).mean() < 2


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_one_bit_pixels_are_black_and_white(format_name: str) -> None:
    pixels = read_radiograph(encode(Image.fromarray(film() > 100), format_name)).pixels
    assert np.array_equal(pixels, np.where(film() > 100, 255, 0))


@pytest.mark.parametrize(
    ("transparent", "format_name"),
    [
        (Image.new("RGBA", (8, 8), (200, 200, 200, 128)), "PNG"),
        (Image.new("RGBA", (8, 8), (200, 200, 200, 128)), "TIFF"),
        (Image.new("RGBA", (8, 8), (200, 200, 200, 128)), "WEBP"),
        (Image.new("LA", (8, 8), (200, 128)), "PNG"),
    ],
)
def test_transparency_is_laid_on_black(transparent: Image.Image, format_name: str) -> None:
    pixels = read_radiograph(
        encode(transparent, format_name, **({"exact": True} if format_name == "WEBP" else {}))
    ).pixels
    assert abs(int(pixels.mean()) - 200 * 128 // 255) <= 3


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_is_shown_black(mode: str) -> None:
    image = Image.new(mode, (8, 8), 200 if mode != "RGB" else (200, 200, 200))
    transparency = (200, 200, 200) if mode == "RGB" else 200
    assert read_radiograph(encode(image, "PNG", transparency=transparency)).pixels.max() == 0


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_names_its_format_and_size(kind: str, tmp_path: Path) -> None:
    radiograph = read_radiograph(SAMPLES[kind], 32)
    assert (radiograph.width, radiograph.height) == (WIDTH, HEIGHT)
    assert radiograph.format == kind.split()[-1].upper()
    assert radiograph.pixels.shape == (32, 32)
    assert radiograph.pixels.dtype == np.uint8


@pytest.mark.parametrize("kind", SAMPLES)
def test_bytes_and_their_file_give_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(SAMPLES[kind])
    expected = read_radiograph(SAMPLES[kind], 32).pixels
    assert np.array_equal(read_radiograph(path, 32).pixels, expected)
    assert np.array_equal(read_radiograph(str(path), 32).pixels, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_size_is_read_without_the_pixels(kind: str) -> None:
    assert image_size(SAMPLES[kind][: len(SAMPLES[kind]) * 3 // 4]) == (WIDTH, HEIGHT)


def test_a_size_below_one_pixel_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="size"):
        read_radiograph(SAMPLES["PNG"], 0)


# What a viewer shows for each EXIF orientation.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


def oriented(format_name: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encode(GRAY, format_name, exif=exif, **({"lossless": True} if format_name == "WEBP" else {"quality": 95}))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_film_is_turned_upright(format_name: str, orientation: int) -> None:
    expected = UPRIGHT[orientation](read_radiograph(oriented(format_name, 1)).pixels)
    radiograph = read_radiograph(oriented(format_name, orientation))
    assert np.array_equal(radiograph.pixels, expected)
    assert (radiograph.height, radiograph.width) == expected.shape


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_film_is_turned_upright_before_it_is_shrunk(format_name: str, orientation: int) -> None:
    upright = UPRIGHT[orientation](film())
    expected = np.asarray(Image.fromarray(upright).resize((24, 24), Image.Resampling.BILINEAR)).astype(int)
    pixels = read_radiograph(oriented(format_name, orientation), 24).pixels
    assert np.abs(pixels - expected).mean() < 3


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_size_is_that_of_the_upright_film(format_name: str, orientation: int) -> None:
    swapped = orientation >= 5
    assert image_size(oriented(format_name, orientation)) == ((HEIGHT, WIDTH) if swapped else (WIDTH, HEIGHT))


ORIENTATION_IN_WORDS = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 274, 2, 4, b"top\0") + bytes(4)


@pytest.mark.parametrize("exif", [b"", b"II*\0\xff\xff\xff\xff", b" nothing of the kind", ORIENTATION_IN_WORDS])
def test_damaged_exif_does_not_keep_a_film_from_being_read(exif: bytes) -> None:
    assert read_radiograph(encode(GRAY, "JPEG", exif=b"Exif\0\0" + exif)).pixels.shape == (HEIGHT, WIDTH)


def test_a_tiff_is_not_turned_by_its_xmp_alone() -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[700] = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    radiograph = read_radiograph(encode(GRAY, "TIFF", tiffinfo=info))
    assert radiograph.pixels.shape == (radiograph.height, radiograph.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [32, 100, 150])
def test_a_jpeg_scaled_in_its_decoder_looks_like_one_scaled_afterwards(size: int) -> None:
    data = encode(film(1200, 800), "JPEG", quality=90)
    full = Image.fromarray(read_radiograph(data).pixels)
    expected = np.asarray(full.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read_radiograph(data, size).pixels - expected).mean() < 1.5


def test_a_film_smaller_than_asked_for_is_enlarged() -> None:
    expected = np.asarray(GRAY.resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read_radiograph(SAMPLES["JPEG"], 224).pixels - expected).mean() < 2


@given(st.lists(st.integers(0, 65535), min_size=1), st.sampled_from([None, 8, 10, 12, 14, 16]))
def test_scaling_to_8_bits_keeps_the_order_of_gray_levels(values: list[int], bits: int | None) -> None:
    scaled = scale_to_uint8(np.sort(np.array(values, np.uint16)), bits)
    assert (np.diff(scaled.astype(int)) >= 0).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_of_a_film_is_found_from_its_largest_value(bits: int) -> None:
    assert scale_to_uint8(np.array([0, 2**bits - 1], np.uint16)).tolist() == [0, 255]


def test_values_beyond_the_depth_are_white() -> None:
    assert scale_to_uint8(np.array([4095, 4096, 65535], np.uint16), bits=12).tolist() == [255, 255, 255]


# --- Limits ------------------------------------------------------------------------------------------------------


def webp_that_claims(side: int) -> bytes:
    """Lossless WebP whose header says side x side: 14 bits each after the signature byte."""
    data = bytearray(encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    assert data[12:16] == b"VP8L"
    flags = struct.unpack_from("<I", data, 21)[0] & ~0xFFFFFFF
    struct.pack_into("<I", data, 21, flags | (side - 1) | (side - 1) << 14)
    return bytes(data)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(png(50_000, 50_000, (b"IDAT", b"tiny")), id="PNG of 2.5 billion pixels"),
        pytest.param(png(9_000, 9_000, (b"IDAT", b"tiny")), id="PNG of 81 million pixels"),
        pytest.param(tiff(film(), claimed=(2**31 - 1, HEIGHT)), id="TIFF of 100 billion pixels"),
        pytest.param(tiff(film(), claimed=(1_500_000, HEIGHT)), id="TIFF of 75 million pixels"),
        pytest.param(webp_that_claims(16_383), id="WebP of 268 million pixels"),
        pytest.param(webp_that_claims(9_000), id="WebP of 81 million pixels"),
    ],
)
@pytest.mark.parametrize("read", [read_radiograph, image_size])
def test_too_many_pixels_are_refused_before_any_is_decoded(read: Callable[[bytes], object], bomb: bytes) -> None:
    # None of them holds pixels that could be decoded: another error would mean that it was tried.
    with pytest.raises(ImageTooLargeError, match="pixels"):
        read(bomb)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_film_just_within_the_limits_is_read(kind: str) -> None:
    data = SAMPLES[kind]
    assert read_radiograph(data, limits=Limits(len(data), WIDTH * HEIGHT)).width == WIDTH
    with pytest.raises(ImageTooLargeError, match=rf"{WIDTH} x {HEIGHT}"):
        read_radiograph(data, limits=Limits(len(data), WIDTH * HEIGHT - 1))


@pytest.mark.parametrize("from_path", [True, False])
def test_too_many_bytes_are_refused(from_path: bool, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(SAMPLES["PNG"])
    with pytest.raises(ImageTooLargeError, match="bytes"):
        read_radiograph(path if from_path else path.read_bytes(), limits=Limits(max_bytes=len(SAMPLES["PNG"]) - 1))


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    data = SAMPLES["progressive JPEG"]
    last = data.rindex(b"\xff\xda")
    with pytest.raises(UnsupportedImageError, match="scans"):
        read_radiograph(data[:-2] + data[last:-2] * 300 + data[-2:])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SAMPLES["JPEG"][:2] + b"\xff\xe5\0\2" * 300_000 + SAMPLES["JPEG"][2:], id="JPEG"),
        pytest.param(png(8, 8, *[(b"prIv", b"")] * 300_000), id="PNG"),
    ],
)
def test_a_header_of_endless_pieces_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedImageError, match="pieces"):
        read_radiograph(data)


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(GRAY, "GIF"), "GIF"),
        (encode(GRAY, "BMP"), "BMP"),
        (encode(GRAY, "JPEG2000"), "JPEG 2000"),
        (encode(GRAY, "PDF"), "PDF"),
        (b"PK\3\4 and so on", "ZIP"),
        (b"\x1f\x8b\x08 and so on", "gzip"),
        (b"Dear radiologist, ...", "no image"),
        (b"\0", "no image"),
        (bytes(1000), "no image"),
    ],
)
def test_another_format_is_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"{name}.*send JPEG, PNG, TIFF, WebP or DICOM"):
        read_radiograph(data)


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("read", [read_radiograph, image_size])
def test_several_frames_are_refused(read: Callable[[bytes], object], format_name: str, options: dict) -> None:
    other = Image.fromarray(255 - film())
    data = encode(GRAY, format_name, save_all=True, append_images=[other, GRAY], **options)
    with pytest.raises(UnsupportedImageError, match=f"{format_name} file holds several pages or frames"):
        read(data)


@pytest.mark.parametrize(("mode", "match"), [("F", "kind F"), ("LAB", "kind LAB")])
def test_pixels_that_are_no_gray_levels_are_refused(mode: str, match: str) -> None:
    with pytest.raises(UnsupportedImageError, match=match):
        read_radiograph(encode(Image.new(mode, (8, 8)), "TIFF"))


@pytest.mark.parametrize("value", [-1, 65536])
def test_pixels_beyond_16_bits_are_refused(value: int) -> None:
    with pytest.raises(UnsupportedImageError, match="65535"):
        read_radiograph(encode(Image.new("I", (8, 8), value), "TIFF"))


@pytest.mark.parametrize("name", ["missing.png", ".", "null\0byte.png"])
def test_a_path_that_is_no_file_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(DamagedImageError):
        read_radiograph(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DamagedImageError, match="regular file"):
        read_radiograph(tmp_path / "pipe.png")


def test_an_empty_file_is_reported() -> None:
    with pytest.raises(DamagedImageError, match="empty"):
        read_radiograph(b"")


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_of_nothing_but_its_first_bytes_is_called_damaged(kind: str) -> None:
    with pytest.raises(DamagedImageError, match=kind.split()[-1]):
        read_radiograph(SAMPLES[kind][:16])


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_truncated_file_never_passes_for_a_whole_one(kind: str) -> None:
    data = SAMPLES[kind]
    whole = read_radiograph(data).pixels
    for length in {*range(0, len(data), max(1, len(data) // 150)), *range(max(0, len(data) - 40), len(data))}:
        with contextlib.suppress(ImageError):
            # Nothing may be missing but what comes after the pixels.
            assert np.array_equal(read_radiograph(data[:length]).pixels, whole), length


@pytest.mark.parametrize("claimed", [(WIDTH, HEIGHT + 1), (WIDTH, 100 * HEIGHT), (WIDTH + 1, HEIGHT)])
def test_a_tiff_whose_strips_end_before_the_image_is_damaged(claimed: tuple[int, int]) -> None:
    with pytest.raises(DamagedImageError):
        read_radiograph(tiff(film(), claimed=claimed))


@pytest.mark.parametrize("kind", [*SAMPLES, "CMYK JPEG", "palette PNG", "16-bit TIFF"])
@given(data=st.data())
def test_damaged_bits_give_a_radiograph_or_an_image_error(kind: str, data: st.DataObject) -> None:
    more = {
        "CMYK JPEG": encode(GRAY.convert("CMYK"), "JPEG"),
        "palette PNG": encode(GRAY.convert("P"), "PNG", transparency=3),
        "16-bit TIFF": tiff(gray_levels_between(0, 4095)),
    }
    damaged = bytearray((SAMPLES | more)[kind])
    # The first bytes matter most: they say how to read the others.
    places = st.one_of(st.integers(0, len(damaged) - 1), st.integers(0, min(250, len(damaged) - 1)))
    for place, bit in data.draw(st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=8)):
        damaged[place] ^= 1 << bit
    for size in (None, 16):
        try:
            radiograph = read_radiograph(bytes(damaged), size, Limits(max_pixels=10**6))
            assert radiograph.pixels.dtype == np.uint8
            assert radiograph.pixels.shape == (size or radiograph.height, size or radiograph.width)
        except ImageError:
            pass


def test_an_error_quotes_nothing_of_the_file() -> None:
    data = png(8, 8, (b"tEXt", b"Patient\0Meier^Anna"), (b"IDAT", b"Meier^Anna"))
    with pytest.raises(DamagedImageError) as caught:
        read_radiograph(data)
    assert "Meier" not in str(caught.value)


def test_reading_ordinary_images_loads_neither_pydicom_nor_gdcm(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(SAMPLES["PNG"])
    code = (
        f"import sys; from pneumonia.images import read_radiograph; read_radiograph({str(path)!r}); "
        "print(sorted({'pydicom', 'gdcm', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_default_limits_admit_the_largest_detector() -> None:
    assert DEFAULT_LIMITS.max_bytes > 4300 * 4300 * 2
    assert DEFAULT_LIMITS.max_pixels > 4300 * 4300
