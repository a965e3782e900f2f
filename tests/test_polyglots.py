"""Files that are an image and something else besides are refused; films with the padding of real devices are read."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pneumonia.errors import DamagedImageError, ImageError, UnsupportedImageError
from pneumonia.images import image_size, read_radiograph
from pneumonia.polyglots import refuse_polyglot
from tests.test_dicom import film as dicom_film
from tests.test_dicom import make_dicom
from tests.test_images import GRAY, SAMPLES, encode

DICOM = make_dicom(dicom_film())
FILMS = {**SAMPLES, "DICOM": DICOM}
WITH_AN_END = ["JPEG", "progressive JPEG", "PNG", "WebP"]


def archive(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("run.py", "print('hello')")
        opened.comment = comment
    return file.getvalue()


HIDDEN = {
    "a ZIP archive": archive(),
    "a ZIP archive with a comment": archive(b"x" * 2000),
    "a RAR archive": b"Rar!\x1a\x07\x01\0" + b"content" * 9,
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + b"content" * 9,
    "a script": b"<ScRiPt>alert(1)</script>",
    "a PHP script": b"<?php system($_GET['c']); ?>",
    "a web page": b"<!DOCTYPE html><p>hello",
}


@pytest.mark.parametrize("read", [read_radiograph, image_size])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("kind", FILMS)
def test_what_is_appended_to_a_film_is_refused(kind: str, hidden: str, read: Callable[[bytes], object]) -> None:
    read(FILMS[kind])
    with pytest.raises(UnsupportedImageError, match="besides; export the film alone"):
        read(FILMS[kind] + HIDDEN[hidden])


@pytest.mark.parametrize("kind", WITH_AN_END)
@pytest.mark.parametrize("appended", [b"any text", b"\0\0\0text", b"\x7fELF", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_nothing_but_padding_may_follow_the_end(kind: str, appended: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="more data after its end"):
        read_radiograph(FILMS[kind] + appended)


@pytest.mark.parametrize("kind", FILMS)
@pytest.mark.parametrize("padding", [b"\0", b"\xff" * 7, b"\r\n", b"\0" * 2048, b"\xff\xff\0\0"])
def test_a_device_may_fill_up_a_block(kind: str, padding: bytes) -> None:
    assert np.array_equal(read_radiograph(FILMS[kind] + padding).pixels, read_radiograph(FILMS[kind]).pixels)


@pytest.mark.parametrize("between", [b"", b"\0" * 300, b"\xff" * 5])
def test_a_camera_may_append_its_previews(between: bytes) -> None:
    preview = encode(GRAY.resize((16, 12)), "JPEG")
    data = SAMPLES["JPEG"] + between + preview + between + preview + between
    assert np.array_equal(read_radiograph(data).pixels, read_radiograph(SAMPLES["JPEG"]).pixels)
    with pytest.raises(UnsupportedImageError, match="more data"):
        read_radiograph(data + b"text")


def test_a_thumbnail_is_not_taken_for_the_end() -> None:
    segment = b"thumb\0" + SAMPLES["JPEG"]
    data = SAMPLES["JPEG"]
    read_radiograph(data[:2] + b"\xff\xe5" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])


def in_comment(content: bytes) -> bytes:
    return SAMPLES["JPEG"][:2] + b"\xff\xfe" + (len(content) + 2).to_bytes(2, "big") + content + SAMPLES["JPEG"][2:]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (archive(), "a ZIP archive"),
        (b"%PDF-1.7 1 0 obj", "a PDF document"),
        (b"--><script>alert(1)</script>", "a script"),
    ],
)
def test_what_lies_in_the_header_is_refused_as_well(content: bytes, match: str) -> None:
    read_radiograph(in_comment(b"Exported by the PACS; 2 films in PK\5\6 order"))
    with pytest.raises(UnsupportedImageError, match=match):
        read_radiograph(in_comment(content))


def test_the_archive_in_a_comment_is_one_that_python_opens() -> None:
    assert zipfile.ZipFile(io.BytesIO(in_comment(archive()))).namelist() == ["run.py"]


@pytest.mark.parametrize("junk", [b"\0\0\0", b"junk", b"\xff\xff\xff"])
def test_junk_between_segments_does_not_hide_what_follows_the_end(junk: bytes) -> None:
    data = SAMPLES["JPEG"]
    first = 4 + int.from_bytes(data[4:6], "big")
    spread = data[:first] + junk + data[first:]
    read_radiograph(spread)
    with pytest.raises(UnsupportedImageError, match="more data"):
        read_radiograph(spread + b"text")


@pytest.mark.parametrize(
    "preamble",
    [b"MZ\x90\0", b"\x7fELF", b"#!/bin/sh\n", b"PK\3\4", b"%PDF-1.7", b"<html>", b"\xff\xd8\xff\xe0", b"GIF89a"],
)
def test_a_dicom_file_that_begins_like_another_is_refused(preamble: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="begins like a file of another kind"):
        read_radiograph(preamble.ljust(128, b"\0") + DICOM[128:])


@pytest.mark.parametrize("preamble", [b"II*\0\x54\x01", b"MM\0*", b"ACME PACS 4.2", b"\xff" * 128])
def test_the_preamble_is_the_devices_own(preamble: bytes) -> None:
    assert read_radiograph(preamble.ljust(128, b"\0") + DICOM[128:]).format == "DICOM"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SAMPLES["JPEG"][:-2] + b"\xff\xe5\0\2" * 200_000 + b"\xff\xd9", id="segments"),
        pytest.param(SAMPLES["PNG"][:-12] + b"\0\0\0\0prIv\0\0\0\0" * 200_000 + SAMPLES["PNG"][-12:], id="chunks"),
    ],
)
def test_endless_pieces_are_not_walked_to_their_end(data: bytes) -> None:
    with pytest.raises(DamagedImageError, match="pieces"):
        refuse_polyglot(data)


@given(st.sampled_from(["JPEG", "PNG", "WebP"]), st.binary(max_size=60))
def test_any_tail_is_padding_or_refused(kind: str, tail: bytes) -> None:
    try:
        read_radiograph(FILMS[kind] + tail)
    except ImageError:
        return
    assert not tail.strip(b"\0\xff\r\n\t ")


@given(st.binary(max_size=300))
def test_any_bytes_are_walked_without_another_error(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda\0\2", b"\x89PNG\r\n\x1a\n", b"RIFF", b"PK\1\2"):
        with contextlib.suppress(ImageError):
            refuse_polyglot(start + data)


def test_a_message_quotes_nothing_of_the_file() -> None:
    with pytest.raises(UnsupportedImageError) as caught:
        read_radiograph(SAMPLES["JPEG"] + b"Meier^Anna")
    assert "Meier" not in str(caught.value)


@pytest.mark.slow
def test_every_real_film_passes(mirror: Path) -> None:
    paths = [path for path in mirror.rglob("*") if path.suffix in (".jpeg", ".jpg", ".png")]
    for path in paths:
        data = path.read_bytes()
        Image.open(io.BytesIO(data)).verify()
        refuse_polyglot(data)
    assert paths
