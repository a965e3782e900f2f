"""The heatmap: exact where the network is, and at its place on the film."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pneumonia.bundle import load_bundle
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.inference.heatmap import pneumonia_evidence, render_heatmap
from pneumonia.inference.predictor import Predictor

MAPS = arrays(np.float32, (2, 4, 5), elements=st.floats(-1e6, 1e6, width=32))


def rendered(
    activation_map: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", width: int, height: int
) -> np.ndarray:
    with Image.open(io.BytesIO(render_heatmap(activation_map, width, height))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def for_pneumonia(evidence: object) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """An activation map of two classes with this evidence."""
    values = np.asarray(evidence, np.float32)
    return np.stack([np.zeros_like(values), values])


def test_a_map_of_zeros_is_black() -> None:
    assert not rendered(np.zeros((2, 4, 4), np.float32), 40, 40).any()


def test_evidence_against_pneumonia_alone_is_black() -> None:
    assert not rendered(for_pneumonia(-np.ones((4, 4))), 40, 40).any()


def test_a_map_that_is_alike_everywhere_is_white() -> None:
    assert (rendered(for_pneumonia(np.full((4, 4), 0.01)), 40, 40) == 255).all()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 7), (7, 0), (3, 5), (7, 7)])
@pytest.mark.parametrize(("width", "height"), [(80, 80), (160, 96), (333, 500)])
def test_a_hot_place_is_bright_at_its_place_on_the_film(row: int, column: int, width: int, height: int) -> None:
    evidence = np.zeros((8, 8))
    evidence[row, column] = 3.0
    picture = rendered(for_pneumonia(evidence), width, height)
    brightest = np.argwhere(picture >= picture.max() - 1).mean(axis=0) + 0.5
    expected = np.array([(row + 0.5) * height / 8, (column + 0.5) * width / 8])
    assert np.abs(brightest - expected).max() <= max(width, height) / 8 / 2
    far = picture.copy()
    far[
        max(0, (row - 2) * height // 8) : (row + 3) * height // 8,
        max(0, (column - 2) * width // 8) : (column + 3) * width // 8,
    ] = 0
    assert far.max() <= 10


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (300, 1), (97, 61), (3000, 2000)])
def test_it_has_the_films_own_size(width: int, height: int) -> None:
    assert rendered(for_pneumonia(np.eye(4)), width, height).shape == (height, width)


@given(MAPS)
def test_any_map_makes_a_picture(activation_map: np.ndarray) -> None:
    assert rendered(activation_map, 12, 10).shape == (10, 12)


@given(MAPS, st.floats(0.01, 100))
def test_the_scale_of_the_logits_does_not_change_the_picture(activation_map: np.ndarray, factor: float) -> None:
    if np.abs(pneumonia_evidence(activation_map)).max() < 1e-3:
        return
    scaled = (activation_map * np.float32(factor)).astype(np.float32)
    difference = rendered(activation_map, 12, 10).astype(int) - rendered(scaled, 12, 10)
    assert np.abs(difference).max() <= 2


def test_of_several_kinds_the_strongest_is_shown() -> None:
    normal, bacteria, virus = np.zeros((2, 2)), np.eye(2), np.full((2, 2), 2.0)
    evidence = pneumonia_evidence(np.stack([normal, bacteria, virus]).astype(np.float32))
    np.testing.assert_array_equal(evidence, virus)


def test_evidence_and_biases_make_up_the_logits_exactly(bundle_dir: Path, tree: Path) -> None:
    bundle = load_bundle(bundle_dir)
    predictor = Predictor(bundle)
    pixels = [predictor.read(path).pixels for path in sorted((tree / "test").rglob("*.jpeg"))]
    pixels += [np.zeros_like(pixels[0]), np.full_like(pixels[0], 255)]
    output = OnnxRuntimeEngine(bundle.graph).run(np.stack(pixels))
    mean_evidence = np.array([pneumonia_evidence(one).mean() for one in output.activation_map])
    biases = output.logits[:, 1] - output.logits[:, 0] - mean_evidence
    # What is left is the difference of the biases: one number, the same for every film.
    assert np.ptp(mean_evidence) > 0.05
    np.testing.assert_allclose(biases, biases[0], atol=1e-4)
