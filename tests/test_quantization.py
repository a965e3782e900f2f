"""A quantised graph answers nearly as the other does, and nothing that must stay float is in 8 bits."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pneumonia.errors import ConfigError
from pneumonia.export import export_graph
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.models import Ensemble, SmallResNet
from pneumonia.quantization import first_convolutions, quantize_graph

Films = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def films() -> Films:
    """Smooth noise: as films have it, the values of neighbours are near."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Ensemble([lambda classes: SmallResNet(classes, widths=(8, 16), depths=(1, 1))] * 2).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    path = tmp_path_factory.mktemp("graphs") / "model.onnx"
    export_graph(network, 32, path)
    return path


@pytest.fixture(scope="module")
def quantized(graph: Path, films: Films) -> Path:
    path = graph.with_name("int8.onnx")
    made = quantize_graph(graph, path, films)
    assert made["calibration_films"] == len(films)
    assert (made["quantized"], made["float"]) == (10, 2)
    return path


def test_its_answers_are_near(graph: Path, quantized: Path, films: Films) -> None:
    expected, found = (OnnxRuntimeEngine(path).run(films) for path in (graph, quantized))
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one - other).max() < 0.1 * np.abs(one).max()
    assert np.abs(expected.logits - found.logits).max() > 0


def test_its_first_convolutions_and_its_linear_layer_are_in_float(quantized: Path) -> None:
    model = onnx.load(quantized)
    produced = {name: node.op_type for node in model.graph.node for name in node.output}
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds: Counter[tuple[str, str]] = Counter()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "Einsum"):
            weight = node.input[1]
            kinds[node.op_type, produced.get(weight, onnx.TensorProto.DataType.Name(weights.get(weight, 0)))] += 1
    assert kinds == {
        ("Conv", "DequantizeLinear"): 10,
        ("Conv", "FLOAT"): 2,
        ("Gemm", "FLOAT"): 2,
        ("Einsum", "FLOAT"): 2,
    }


def test_its_weights_leave_room_for_processors_that_add_pairs_in_16_bits(quantized: Path) -> None:
    # 255 * 64 * 2 is less than 2 ** 15; 255 * 127 * 2 is not.
    tensors = onnx.load(quantized).graph.initializer
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in tensors if tensor.name.endswith("_quantized")]
    weights = [weight for weight in weights if weight.ndim == 4]
    assert len(weights) == 10
    assert all(weight.dtype == np.int8 and np.abs(weight.astype(int)).max() <= 64 for weight in weights)


def test_a_film_is_answered_alike_wherever_in_a_batch_it_is(quantized: Path, films: Films) -> None:
    engine = OnnxRuntimeEngine(quantized)
    together = engine.run(films)
    for index in (0, 7, 39):
        for part, whole in zip(engine.run(films[index : index + 1]), together, strict=True):
            np.testing.assert_allclose(part[0], whole[index], atol=1e-5, rtol=1e-5)


def test_the_same_graph_and_films_give_the_same_bytes(
    graph: Path, quantized: Path, films: Films, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize_graph(graph, tmp_path / "again.onnx", films)
    assert (tmp_path / "again.onnx").read_bytes() == quantized.read_bytes()
    assert capsys.readouterr().out == ""


def test_the_first_convolutions_are_those_before_which_there_is_none(graph: Path) -> None:
    model = onnx.load(graph)
    first = first_convolutions(model)
    inputs = {node.name: node.input[0] for node in model.graph.node if node.op_type == "Conv"}
    assert len(first) == 2
    assert len({inputs[name] for name in first}) == 1  # both members read the standardised image


def test_a_graph_without_a_second_convolution_is_refused(tmp_path: Path, films: Films) -> None:
    export_graph(SmallResNet(widths=(8,), depths=(0,)).eval(), 32, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="no convolution but its first"):
        quantize_graph(tmp_path / "model.onnx", tmp_path / "int8.onnx", films)
    assert not (tmp_path / "int8.onnx").exists()
