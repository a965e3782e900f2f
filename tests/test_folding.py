"""Folding a pooling into the convolution after it changes the graph and not its answers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from pneumonia.export import export_graph
from pneumonia.folding import fold_pooled_convolutions
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.models import SmallResNet

ModelOf = Callable[..., onnx.ModelProto]


@pytest.fixture
def model_of() -> ModelOf:
    """A graph of an average pooling and a convolution, with the attributes that a test gives them."""

    def make(side: int = 8, kernel: int = 1, also_read: bool = False, **pooling: object) -> onnx.ModelProto:
        node, value, tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
        weights = np.random.default_rng(0).standard_normal((5, 3, kernel, kernel)).astype(np.float32)
        attributes = {"kernel_shape": [2, 2], "strides": [2, 2], **pooling}
        nodes = [
            node("AveragePool", ["images"], ["pooled"], **attributes),
            node("Conv", ["pooled", "weights", "biases"], ["features"]),
        ]
        outputs = [value("features", onnx.TensorProto.FLOAT, None)]
        if also_read:
            outputs.append(value("pooled", onnx.TensorProto.FLOAT, None))
        images = value("images", onnx.TensorProto.FLOAT, [2, 3, side, side])
        constants = [tensor(weights, "weights"), tensor(np.arange(5, dtype=np.float32), "biases")]
        graph = onnx.helper.make_graph(nodes, "pooled", [images], outputs, constants)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    return make


def answers(model: onnx.ModelProto, side: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    images = np.random.default_rng(1).standard_normal((2, 3, side, side)).astype(np.float32)
    outputs = onnx.reference.ReferenceEvaluator(model).run(["features"], {"images": images})
    return np.asarray(outputs[0])


@pytest.mark.parametrize("side", [2, 6, 8])
def test_a_pooling_that_tiles_its_input_becomes_part_of_the_convolution(model_of: ModelOf, side: int) -> None:
    model = ir.from_proto(model_of(side))
    assert fold_pooled_convolutions(model) == 1
    folded = ir.to_proto(model)
    assert [node.op_type for node in folded.graph.node] == ["Conv"]
    assert {tensor.name for tensor in folded.graph.initializer} == {"weights_pooled", "biases"}
    np.testing.assert_allclose(answers(folded, side), answers(model_of(side), side), atol=1e-5)


@pytest.mark.parametrize(
    "kept",
    [
        {"side": 7},
        {"side": 7, "ceil_mode": 1},
        {"strides": [1, 1]},
        {"pads": [1, 1, 1, 1]},
        {"kernel": 3},
        {"also_read": True},
    ],
)
def test_any_other_pooling_stays(model_of: ModelOf, kept: dict[str, object]) -> None:
    model = ir.from_proto(model_of(**kept))
    assert fold_pooled_convolutions(model) == 0
    assert [node.op_type for node in ir.to_proto(model).graph.node] == ["AveragePool", "Conv"]


@pytest.mark.parametrize(("side", "poolings"), [(64, 0), (52, 1)])  # 26 pixels have a whole half, 13 none
def test_a_residual_network_keeps_the_poolings_of_odd_sizes_alone(tmp_path: Path, side: int, poolings: int) -> None:
    torch.manual_seed(0)
    network = SmallResNet(widths=(8, 16, 16), depths=(1, 1, 1)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    export_graph(network, side, tmp_path / "model.onnx")
    counted = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert counted["AveragePool"] == poolings
    films = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(films).unsqueeze(1))
    for found, wanted in zip(OnnxRuntimeEngine(tmp_path / "model.onnx").run(films), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4, rtol=1e-4)
