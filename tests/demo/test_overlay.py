"""Film and heatmap as pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pneumonia.demo.overlay import (
    FILM_SIDE,
    HEATMAP_SIDE,
    colour_evidence,
    data_uri,
    film_picture,
    heatmap_picture,
)


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB (n, 3) in 0..255."""
    linear = ((rgb / 255 + 0.055) / 1.055) ** 2.4
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(luminance) - 16


def test_no_evidence_leaves_the_film_as_it_is() -> None:
    assert (colour_evidence(np.zeros((3, 4), dtype=np.uint8))[..., 3] == 0).all()


def test_opacity_is_the_evidence() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    coloured = colour_evidence(levels)
    assert coloured.shape == (16, 16, 4)
    assert coloured.dtype == np.uint8
    np.testing.assert_array_equal(coloured[..., 3], levels)


def test_more_evidence_is_brighter() -> None:
    colours = colour_evidence(np.arange(256, dtype=np.uint8)[None])[0, :, :3].astype(float)
    steps = np.diff(lightness(colours[::8]))
    assert (steps > 0).all()


def test_a_film_of_usual_size_is_shown_pixel_for_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    image = opened(film_picture(pixels))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(("height", "width"), [(3000, 2400), (2400, 3000), (5000, 3)])
def test_a_large_film_is_shrunk_and_keeps_its_shape(height: int, width: int) -> None:
    image = opened(film_picture(np.zeros((height, width), dtype=np.uint8)))
    assert max(image.size) == FILM_SIDE
    assert image.width == max(1, round(width * FILM_SIDE / max(height, width)))
    assert image.height == max(1, round(height * FILM_SIDE / max(height, width)))


def test_a_heatmap_becomes_a_picture_with_an_alpha_channel() -> None:
    evidence = np.zeros((1000, 2000), dtype=np.uint8)
    evidence[:, 1000:] = 255
    image = opened(heatmap_picture(evidence))
    assert image.mode == "RGBA"
    assert image.size == (HEATMAP_SIDE, HEATMAP_SIDE // 2)
    alpha = np.asarray(image)[..., 3]
    assert alpha[:, : HEATMAP_SIDE // 2 - 2].max() == 0
    assert alpha[:, HEATMAP_SIDE // 2 + 2 :].min() == 255


def test_a_data_uri_holds_the_picture_itself() -> None:
    png = film_picture(np.zeros((2, 2), dtype=np.uint8))
    head, _, content = data_uri(png).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content, validate=True) == png
