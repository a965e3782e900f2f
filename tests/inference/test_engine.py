"""The engine: what it refuses to load, and what it answers whatever the pixels are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import BundleError
from pneumonia.inference.engine import OUTPUTS, OnnxRuntimeEngine


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return load_bundle(bundle_dir)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(bundle.graph)


def noise(films: int, size: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(0).integers(0, 256, (films, size, size), dtype=np.uint8)


def test_a_graph_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx.*[Ee]xport"):
        OnnxRuntimeEngine(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(10_000), b"\x08\x08\x12\x07pytorch"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx.*export the bundle|model\.onnx.*Export the bundle"):
        OnnxRuntimeEngine(tmp_path / "model.onnx")


def test_a_graph_cut_short_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    content = bundle.graph.read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="can't load"):
        OnnxRuntimeEngine(tmp_path / "model.onnx")


def test_a_graph_with_other_outputs_is_refused_and_told_which(tmp_path: Path, write_graph: Callable[..., Path]) -> None:
    graph = write_graph(tmp_path / "model.onnx", names=("scores", "activation_map", "embedding"))
    with pytest.raises(BundleError, match="scores"):
        OnnxRuntimeEngine(graph)


@pytest.mark.parametrize("films", [1, 2, 7, 33])
def test_outputs_have_a_row_for_each_film(engine: OnnxRuntimeEngine, bundle: Bundle, films: int) -> None:
    output = engine.run(noise(films, bundle.input_size))
    assert output._fields == OUTPUTS
    assert output.logits.shape == (films, len(bundle.classes))
    assert output.activation_map.shape[:2] == (films, len(bundle.classes))
    assert output.embedding.shape[0] == films
    assert (output.activation_map.ndim, output.embedding.ndim) == (4, 2)
    assert all(part.dtype == np.float32 for part in output)


@pytest.mark.parametrize("name", ["black", "white", "one gray", "one pixel", "noise", "chessboard"])
def test_outputs_are_finite_whatever_the_pixels(engine: OnnxRuntimeEngine, bundle: Bundle, name: str) -> None:
    size = bundle.input_size
    one_pixel = np.zeros((1, size, size), np.uint8)
    one_pixel[0, size // 2, size // 2] = 255
    films = {
        "black": np.zeros((1, size, size), np.uint8),
        "white": np.full((1, size, size), 255, np.uint8),
        "one gray": np.full((1, size, size), 128, np.uint8),
        "one pixel": one_pixel,
        "noise": noise(1, size),
        "chessboard": (np.indices((size, size)).sum(0) % 2 * 255).astype(np.uint8)[None],
    }
    assert all(np.isfinite(part).all() for part in engine.run(films[name]))


def test_a_film_is_answered_alike_wherever_in_a_batch_it_is(engine: OnnxRuntimeEngine, bundle: Bundle) -> None:
    films = noise(9, bundle.input_size)
    together = engine.run(films)
    for index in range(len(films)):
        alone = engine.run(films[index : index + 1])
        for part, whole in zip(alone, together, strict=True):
            np.testing.assert_allclose(part[0], whole[index], atol=1e-5, rtol=1e-5)


def test_the_number_of_threads_changes_no_answer(engine: OnnxRuntimeEngine, bundle: Bundle) -> None:
    films = noise(5, bundle.input_size)
    for part, other in zip(engine.run(films), OnnxRuntimeEngine(bundle.graph, threads=1).run(films), strict=True):
        np.testing.assert_allclose(part, other, atol=1e-5, rtol=1e-5)


def test_it_reports_to_nobody(bundle: Bundle, tmp_path: Path) -> None:
    # ONNX Runtime's telemetry keeps a device id and a store of events under the user's cache folder.
    code = (
        "import sys, pneumonia.inference.engine as engine, pathlib\nengine.OnnxRuntimeEngine(pathlib.Path(sys.argv[1]))"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "CI"))}
    environment = {**kept, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(bundle.graph)], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
