"""A graph with the smallest of its convolutions' weights taken out, without training it again."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

_GROUP, _KEPT = 4, 2


def prune_two_of_four(model: onnx.ModelProto) -> None:
    """Set to zero the two smallest of every four weights along a filter (Mishra et al. 2021): the 2:4 pattern."""
    for name, weights in _weights(model).items():
        flat = weights.reshape(len(weights), -1)
        whole = flat[:, : flat.shape[1] // _GROUP * _GROUP].reshape(len(weights), -1, _GROUP)
        order = np.argsort(np.abs(whole), axis=2)
        np.put_along_axis(whole, order[:, :, : _GROUP - _KEPT], 0.0, axis=2)
        pruned = flat.copy()
        pruned[:, : whole.shape[1] * _GROUP] = whole.reshape(len(weights), -1)
        _set(model, name, pruned.reshape(weights.shape))


def prune_channels(model: onnx.ModelProto, share: float) -> None:
    """Take out a share of the channels inside each residual block: those whose filters are smallest (Li et al. 2017).

    They are the ones between a block's two convolutions, which nothing else reads, so that the graph gets smaller.
    """
    weights = _weights(model)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    for first in model.graph.node:
        if first.op_type != "Conv":
            continue
        activations = readers.get(first.output[0], [])
        if [node.op_type for node in activations] != ["Relu"]:
            continue
        behind = readers.get(activations[0].output[0], [])
        if [node.op_type for node in behind] != ["Conv"]:
            continue
        filters, following = weights[first.input[1]], weights[behind[0].input[1]]
        count = len(filters) - round(share * len(filters))
        kept = np.sort(np.argsort(np.abs(filters).sum(axis=(1, 2, 3)))[-count:])
        _set(model, first.input[1], filters[kept])
        _set(model, first.input[2], _array(model, first.input[2])[kept])
        _set(model, behind[0].input[1], following[:, kept])
    del model.graph.value_info[:]  # shapes that are no more


def _weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    return {name: _array(model, name) for name in names}


def _array(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return np.array(numpy_helper.to_array(tensor), dtype=np.float32)


def _set(model: onnx.ModelProto, name: str, content: NDArray[np.float32]) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(content, name))
    for value in model.graph.input:  # graphs may list their weights among their inputs
        if value.name == name:
            model.graph.input.remove(value)
            break
