"""Graphs that are small enough to be understood, and the bundles around them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pneumonia.bundle import GRAPH, TYPICALITY, Bundle, graph_version, load_bundle, write_bundle
from pneumonia.evaluation.operating_point import OperatingPoint
from pneumonia.inference.typicality import fit_typicality

WriteGraph = Callable[..., Path]


@pytest.fixture(scope="session")
def write_graph() -> WriteGraph:
    """Write a graph that shrinks a film to 2 x 2 places and weighs each place for each class.

    Per class a weight and a bias: evidence = weight * (mean gray of the place) / 255, logit = mean evidence + bias.
    """
    onnx = pytest.importorskip("onnx")

    def write(
        path: Path,
        weights: tuple[float, ...] = (-1.0, 1.0),
        biases: tuple[float, ...] = (0.0, 0.0),
        size: int = 64,
        names: tuple[str, ...] = ("logits", "activation_map", "embedding"),
    ) -> Path:
        node, tensor, value = onnx.helper.make_node, onnx.numpy_helper.from_array, onnx.helper.make_tensor_value_info
        logits, places, embedding = names
        kernel = [size // 2, size // 2]
        nodes = [
            node("Cast", ["images"], ["gray"], to=onnx.TensorProto.FLOAT),
            node("AveragePool", ["gray"], ["pooled"], kernel_shape=kernel, strides=kernel),
            node("Conv", ["pooled", "weights"], [places], kernel_shape=[1, 1]),
            node("GlobalAveragePool", [places], ["mean"]),
            node("Flatten", ["mean"], ["flat"]),
            node("Add", ["flat", "biases"], [logits]),
            node("Flatten", ["pooled"], [embedding]),
        ]
        constants = [
            tensor(np.array(weights, np.float32).reshape(-1, 1, 1, 1) / 255, "weights"),
            tensor(np.array(biases, np.float32), "biases"),
        ]
        shapes = [["batch", len(weights)], ["batch", len(weights), 2, 2], ["batch", 4]]
        outputs = [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)]
        images = value("images", onnx.TensorProto.UINT8, ["batch", 1, size, size])
        graph = onnx.helper.make_graph(nodes, "tiny", [images], outputs, constants)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def write_tiny_bundle(write_graph: WriteGraph, tmp_path: Path) -> Callable[..., Bundle]:
    """Write a bundle of such a graph."""

    def write(classes: tuple[str, ...], threshold: float = 0.5, **graph: tuple[float, ...]) -> Bundle:
        folder = tmp_path / "tiny"
        folder.mkdir()
        write_graph(folder / GRAPH, **graph)
        point = OperatingPoint(1.0, threshold, "youden", 0.95, (0.3,) * len(classes))
        noise = np.random.default_rng(0)
        films, embeddings = noise.integers(0, 256, (8, 64, 64)).astype(np.uint8), noise.random((8, 4), np.float32)
        fit_typicality(films, embeddings, np.arange(8) % 2, (films, embeddings)).save(folder / TYPICALITY)
        version = graph_version(folder / GRAPH, point)
        write_bundle(Bundle(folder, "tiny", version, "2026-01-01T00:00:00+00:00", classes, 64, 4, point))
        return load_bundle(folder)

    return write
