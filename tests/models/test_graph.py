"""A graph as a PyTorch module answers as ONNX Runtime does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pneumonia.errors import BundleError
from pneumonia.export import export_graph
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.models import Ensemble, SmallResNet
from pneumonia.models.graph import TorchGraph

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SmallResNet": lambda: SmallResNet(widths=(8, 16, 16), depths=(1, 1, 1)),
    "SmallResNet, normalised locally": lambda: SmallResNet(widths=(8,), depths=(1,), neighbourhood=9),
    "Ensemble": lambda: Ensemble([lambda classes: SmallResNet(classes, widths=(8,), depths=(1,))] * 2),
}


# Torchvision's: test_pretrained.py.
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("side", [50])
def test_it_answers_as_onnx_runtime_does(tmp_path: Path, name: str, side: int) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    export_graph(network, side, tmp_path / "model.onnx")
    films = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    expected = OnnxRuntimeEngine(tmp_path / "model.onnx").run(films)
    with torch.inference_mode():
        found = TorchGraph(tmp_path / "model.onnx").eval()(torch.from_numpy(films[:, None]))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        TorchGraph(tmp_path / "model.onnx")


def one_node(path: Path, kind: str, **attributes: object) -> Path:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(kind, ["images"], ["logits"], **attributes)
    ends = [value(name, onnx.TensorProto.FLOAT, None) for name in ("images", "logits")]
    graph = onnx.helper.make_graph([node], "one", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph), path)
    return path


def test_an_operator_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"operators Softsign, .*choose the engine fp32"):
        TorchGraph(one_node(tmp_path / "model.onnx", "Softsign"))


def test_a_padding_of_one_side_is_refused_rather_than_moved(tmp_path: Path) -> None:
    pooling = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]}
    graph = TorchGraph(one_node(tmp_path / "model.onnx", "MaxPool", **pooling))
    with pytest.raises(BundleError, match="pads one side more"):
        graph(torch.zeros(1, 1, 4, 4))
