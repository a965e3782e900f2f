"""Files that are an image and something else besides: an archive, a page, a program that another reader would find.

What follows the end of a JPEG, PNG or WebP has to be padding (devices fill up blocks with 0 or 0xFF) or, after a JPEG,
the previews that cameras append, JPEGs themselves. A TIFF or DICOM file has no such end: as in the others, marks are
looked for that another program would find where they are. It takes about a tenth of the time to decode the film.
"""

import re

from pneumonia.errors import DamagedImageError, UnsupportedImageError

_PADDING = b"\0\xff\r\n\t "
# Markers of a JPEG (T.81, B.1.1): any, and those that end entropy-coded data: no stuffed 0xFF, no restart.
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_SCAN_ENDS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# In either case, and the reader of each finds it wherever it is. Each pattern begins with bytes that have no case, and
# that are rare: `re` leaps from one to the next, many times as fast as with a letter of either case at the beginning.
_MARKS = {
    "a RAR archive": re.compile(rb"!\x1a\x07(?<=(?i:rar)!\x1a\x07)"),
    "a 7z archive": re.compile(rb"\xbc\xaf\x27\x1c(?<=7(?i:z)\xbc\xaf\x27\x1c)"),
    "a script or a web page": re.compile(rb"<(?:(?i:script|!doctype html)|\?(?i:php)[ \n])"),
}
_PDF, _BEGINNING = b"%pdf-", 1024  # its reader looks for it in so many first bytes
_ZIP_END, _ZIP_DIRECTORY = b"PK\5\6", b"PK\1\2"
_ZIP_END_SIZE, _ZIP_COMMENT = 22, 0xFFFF
# Pieces are walked in Python; no film has a hundredth as many. Cameras append two or three previews.
_MAX_PIECES, _MAX_PREVIEWS = 100_000, 8
_TOO_MANY_PIECES = "The file is cut into absurdly many pieces; export the film again."
_DICOM_PREAMBLE = 128
_PROGRAMS_AND_PAGES = (b"MZ", b"\x7fELF", b"#!", b"<!", b"<?", b"<html", b"<script", b"<svg", b"PK", b"%PDF")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM")


def refuse_polyglot(data: bytes) -> None:
    """Raise `UnsupportedImageError` when an image's bytes hold something else that could be taken out of them."""
    found = _marked(data) or ("a ZIP archive" if _holds_zip(data) else None)
    if found is None and _tail(data).strip(_PADDING):
        found = "more data after its end"
    if found is not None:
        raise UnsupportedImageError(f"The file is an image and holds {found} besides; export the film alone.")


def refuse_preamble(data: bytes) -> None:
    """Raise `UnsupportedImageError` when the preamble of a DICOM file begins a file of another kind.

    PS3.10 section 7.1 leaves it to applications: mostly it is 0, and it may begin a TIFF file of the same pixels.
    """
    if data[:_DICOM_PREAMBLE].startswith(_PROGRAMS_AND_PAGES + _IMAGES):
        raise UnsupportedImageError("The DICOM file begins like a file of another kind; export the film again.")


def _marked(data: bytes) -> str | None:
    """The first of the marks that the data hold."""
    if _PDF in data[:_BEGINNING].lower():
        return "a PDF document"
    return next((name for name, mark in _MARKS.items() if mark.search(data)), None)


def _holds_zip(data: bytes) -> bool:
    """Whether the end of an archive that has entries is where readers look for it, at most a comment from the end.

    Its mark alone comes up by chance in one of 65,000 files; hence its directory is asked for, which lies before it.
    """
    begin = max(0, len(data) - _ZIP_END_SIZE - _ZIP_COMMENT)
    end = data.rfind(_ZIP_END, begin)
    while end >= 0:
        size = int.from_bytes(data[end + 12 : end + 16], "little")
        if size == 0xFFFFFFFF or (0 < size <= end and data.startswith(_ZIP_DIRECTORY, end - size)):
            return True
        end = data.rfind(_ZIP_END, begin, end)
    return False


def _tail(data: bytes) -> bytes:
    """What follows the image; nothing where the format has no end, or the file is cut off before it."""
    if data.startswith(b"\xff\xd8"):
        return data[_end_of_jpegs(data) :]
    if data.startswith(b"\x89PNG"):
        return data[_end_of_png(data) :]
    if data.startswith(b"RIFF"):
        size = int.from_bytes(data[4:8], "little")
        return data[8 + size + size % 2 :]
    return b""


def _end_of_jpegs(data: bytes) -> int:
    """After the last of one or a few JPEGs with nothing but padding between them."""
    end = _end_of_jpeg(data, 0)
    for _ in range(_MAX_PREVIEWS):
        following = len(data) - len(data[end:].lstrip(_PADDING))
        # 0xFF is padding, and the first byte of a marker as well.
        if end >= len(data) or data[following - 1 : following + 1] != b"\xff\xd8":
            break
        end = _end_of_jpeg(data, following - 1)
    return end


def _end_of_jpeg(data: bytes, start: int) -> int:
    """The place after a JPEG's end marker; the end of the data where there is none.

    Segments are skipped by their length: a thumbnail in one has an end marker of its own. What is no marker where one
    has to be is skipped too, as libjpeg does.
    """
    place, ends = start, _MARKER
    for _ in range(_MAX_PIECES):
        match = ends.search(data, place)
        if match is None:
            return len(data)
        place, ends = match.end(), _MARKER
        marker = data[place - 1]
        if marker == _END_OF_IMAGE:
            return place
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
        if marker == _START_OF_SCAN:
            ends = _SCAN_ENDS
    raise DamagedImageError(_TOO_MANY_PIECES)


def _end_of_png(data: bytes) -> int:
    place = 8
    for _ in range(_MAX_PIECES):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += 12 + size
        if kind == b"IEND" or place >= len(data):
            return place
    raise DamagedImageError(_TOO_MANY_PIECES)
