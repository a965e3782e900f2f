"""JPEG, PNG, TIFF and WebP to an upright 8-bit gray image, by Pillow; the header is checked before any pixel."""

import numpy as np

# The four plugins by name: asked for a format it does not know yet, Pillow imports the parsers of all of its forty.
from PIL import (
    ExifTags,
    Image,
    ImageChops,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.images import BoundedBytes, Limits, scale_to_uint8
from pneumonia.polyglots import refuse_polyglot

_PILLOW_FORMATS = tuple(
    str(plugin.format)
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
_READ = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"RIFF": "WebP",
}
_NOT_READ = {
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image outside of DICOM",
    b"%PDF": "a PDF document",
    b"PK": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
}
_GRAY_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_START_OF_SCAN = b"\xff\xda"
_MAX_SCANS = 200
# What undoes each EXIF orientation (CIPA DC-008, "Orientation"); from 5 on it swaps width and height.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_raster(data: bytes, limits: Limits, size: int | None = None) -> tuple[Image.Image, tuple[int, int], str]:
    """Decode to an upright image of mode L, the film's own upright (width, height), and the format's name.

    With `size` a JPEG is decoded at the smallest eighth of its resolution that is not below (size, size).
    """
    image, orientation = _open(data, limits)
    upright_size, name = _upright_size(image, orientation), _format_name(image)
    try:
        if name == "JPEG":
            image.draft("L", None if size is None else (size, size))
        image.load()
        gray = _to_gray(image)
    except ImageError:
        raise
    except Exception as error:  # a decoder may fail on hostile bytes with any exception at all
        raise DamagedImageError(f"The {name} file is truncated or damaged; export or send it again.") from error
    if orientation in _UPRIGHT:
        gray = gray.transpose(_UPRIGHT[orientation])
    return gray, upright_size, name


def raster_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(width, height), upright, from the header alone."""
    return _upright_size(*_open(data, limits))


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, int]:
    """Read the header and check format, kind and size; no pixel is decoded. Returns image and EXIF orientation."""
    try:
        image: Image.Image = Image.open(BoundedBytes(data), formats=_PILLOW_FORMATS)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            "The image has more pixels than are accepted; send it at a lower resolution."
        ) from error
    except Exception as error:  # see decode_raster
        raise _unreadable(data) from error
    _check(image, data, limits)
    refuse_polyglot(data)
    return image, _orientation(image)


def _check(image: Image.Image, data: bytes, limits: Limits) -> None:
    name = _format_name(image)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The image is {width} x {height} pixels; at most {limits.max_pixels:,} in all are accepted."
        )
    # `n_frames` would walk the whole of a TIFF. A camera's MPO is one JPEG with previews of it.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise UnsupportedImageError(f"The {name} file holds several pages or frames; send one radiograph a file.")
    if image.mode not in _GRAY_MODES | _DEEP_MODES:
        raise UnsupportedImageError(f"Pixels of the kind {image.mode} are not read; export as 8- or 16-bit grayscale.")
    # Pillow would leave what is missing black.
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _stored_area(image) < width * height:
        raise DamagedImageError("The TIFF's strips or tiles do not cover the whole image; export or send it again.")
    # Each scan of a progressive JPEG may be a few bytes long and yet costs a pass over the whole image.
    if image.info.get("progressive") and data.count(_START_OF_SCAN) > _MAX_SCANS:
        raise UnsupportedImageError(f"The JPEG has more than {_MAX_SCANS} scans; export it as a baseline JPEG.")


def _stored_area(image: TiffImagePlugin.TiffImageFile) -> int:
    """How many pixels the strips or tiles of a TIFF hold together."""
    boxes = (tile.extents or (0, 0, 0, 0) for tile in image.tile)
    return sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none that can be read."""
    if image.format == "TIFF":
        # Pillow turns a TIFF upright by itself, and its size by the TIFF tag alone: XMP must not say otherwise.
        image.info.pop("xmp", None)
        return 1
    try:
        # PNG and WebP override this with one that decodes the pixels when the header has no EXIF.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # metadata that are damaged are no reason to refuse a film
        return 1


def _upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def _format_name(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _unreadable(data: bytes) -> ImageError:
    for magic, name in _READ.items():
        if data.startswith(magic):
            return DamagedImageError(
                f"The file begins like {name}, but its header is truncated, damaged or of a kind that is not read; "
                "export it again as 8- or 16-bit grayscale."
            )
    found = next((name for magic, name in _NOT_READ.items() if data.startswith(magic)), "no image of a known format")
    return UnsupportedImageError(f"The file looks like {found}; send JPEG, PNG, TIFF, WebP or DICOM.")


def _to_gray(image: Image.Image) -> Image.Image:
    """Any accepted mode to 8-bit gray; transparency is laid on black, the ground of a film."""
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnsupportedImageError("Pixels below 0 or above 65535 are not read; export as 8- or 16-bit grayscale.")
        gray = scale_to_uint8(values)
        # Pillow inverts the shallower ones itself.
        white_is_zero = getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        return Image.fromarray(255 - gray if white_is_zero else gray)
    if image.has_transparency_data:
        return ImageChops.multiply(*image.convert("RGBA").convert("LA").split())
    return image if image.mode == "L" else image.convert("L")
