"""Pruned graphs are what they are called: half of each four weights is zero, or channels are gone; both run."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.pruning import prune_channels, prune_two_of_four
from pneumonia.inference.engine import OnnxRuntimeEngine

REFERENCE = Path(__file__).parents[1] / "pneumonia" / "reference"


@pytest.fixture
def graph() -> onnx.ModelProto:
    return onnx.load(REFERENCE / "model.onnx")


def filters(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    names = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in names}


def answers(model: onnx.ModelProto, path: Path) -> np.ndarray:
    onnx.checker.check_model(model)
    onnx.save(model, path)
    size = 96
    films = np.random.default_rng(0).integers(0, 256, (3, size, size), dtype=np.uint8)
    return OnnxRuntimeEngine(path, threads=1).run(films).logits


def test_two_of_four_weights_are_zero_and_the_larger_two_are_kept(graph: onnx.ModelProto, tmp_path: Path) -> None:
    before = filters(graph)
    prune_two_of_four(graph)
    for name, weights in filters(graph).items():
        flat, old = weights.reshape(len(weights), -1), before[name].reshape(len(weights), -1)
        whole = flat.shape[1] // 4 * 4
        fours, olds = flat[:, :whole].reshape(-1, 4), old[:, :whole].reshape(-1, 4)
        assert ((fours != 0).sum(axis=1) <= 2).all()
        np.testing.assert_allclose(
            np.sort(np.abs(fours), axis=1)[:, 2:], np.sort(np.abs(olds), axis=1)[:, 2:], err_msg=name
        )
        np.testing.assert_array_equal(flat[:, whole:], old[:, whole:])
    assert np.isfinite(answers(graph, tmp_path / "pruned.onnx")).all()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_graph_with_fewer_channels_is_smaller_and_runs(graph: onnx.ModelProto, tmp_path: Path, share: float) -> None:
    before = sum(weights.size for weights in filters(graph).values())
    prune_channels(graph, share)
    after = sum(weights.size for weights in filters(graph).values())
    # Only the channels inside a block go: less than the share of all weights, but most of it.
    assert 1 - share < after / before < 1 - share / 2
    assert np.isfinite(answers(graph, tmp_path / "pruned.onnx")).all()


def test_taking_out_no_channel_changes_no_answer(graph: onnx.ModelProto, tmp_path: Path) -> None:
    plain = answers(graph, tmp_path / "plain.onnx")
    prune_channels(graph, 0.0)
    np.testing.assert_allclose(answers(graph, tmp_path / "pruned.onnx"), plain, atol=1e-5)
