"""A film as one visitor's page holds it: in memory alone. The uploaded file is removed as soon as it is read."""

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from pneumonia.demo import problems
from pneumonia.demo.dicom_geometry import Geometry, read_geometry
from pneumonia.demo.overlay import data_uri, film_picture, heatmap_picture
from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings
from pneumonia.errors import ImageError
from pneumonia.images import DEFAULT_LIMITS, read_bytes, read_radiograph


@dataclass(frozen=True, eq=False)
class Film:
    """The file's bytes, as they go to the API; the picture to show, as a data URI; and what is known of the film.

    `width` and `height` are the film's own, in pixels; the picture may be smaller. `geometry` is how it lies, where a
    DICOM file says so; `token` tells it from other films, and tells nothing else.
    """

    data: bytes
    picture: str
    name: str
    format: str
    width: int
    height: int
    geometry: Geometry | None
    token: str


def take_upload(path: Path) -> Film | Problem:
    """Read an uploaded file and remove it from the disk, whether it could be decoded or not."""
    try:
        return make_film(read_bytes(path, DEFAULT_LIMITS), path.name)
    except ImageError as error:
        return problems.of_image(error)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def make_film(data: bytes, name: str) -> Film:
    """A film of a file's bytes. Raises `ImageError`."""
    radiograph = read_radiograph(data)
    picture = data_uri(film_picture(radiograph.pixels))
    return Film(
        data,
        picture,
        name,
        radiograph.format,
        radiograph.width,
        radiograph.height,
        read_geometry(data),
        secrets.token_hex(8),
    )


def colour_layer(heatmap: bytes | None) -> str | None:
    """The API's heatmap as a data URI to lay over the film's picture; None without one that can be read."""
    try:
        return data_uri(heatmap_picture(read_radiograph(heatmap).pixels)) if heatmap else None
    except ImageError:
        return None


def caption(say: Strings, film: Film) -> str:
    """What is said under a film: its file's name, format and size."""
    return say("film.caption", name=film.name, format=film.format, width=film.width, height=film.height)
