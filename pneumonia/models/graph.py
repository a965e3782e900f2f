"""A bundle's ONNX graph as a PyTorch module: what the networks of this package export to, and no more."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumonia.errors import BundleError

Attributes = Mapping[str, Any]
_DTYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.INT64: torch.int64}


class TorchGraph(nn.Module):
    """The graph's nodes, run one after the other.

    Takes images (N, 1, S, S) uint8; returns the graph's outputs in its order. Raises `BundleError` for a file that is
    no graph, or that has an operator which is not known here.
    """

    def __init__(self, graph: Path) -> None:
        super().__init__()
        try:
            content = onnx.load(graph).graph
        except Exception as error:  # of the file system or of protobuf, which share no base but this
            raise BundleError(f"{graph} can't be read as ONNX: {error}. Export the bundle again.") from error
        unknown = {node.op_type for node in content.node} - set(_OPERATORS)
        if unknown or not content.node:
            raise BundleError(
                f"{graph} has the operators {', '.join(sorted(unknown)) or 'of no graph'}, which the torch engines do "
                "not know; choose the engine fp32."
            )
        self._input = content.input[0].name
        self._outputs = [output.name for output in content.output]
        # A buffer's name must not hold a dot.
        self._names = {tensor.name: f"constant_{index}" for index, tensor in enumerate(content.initializer)}
        # Axes and shapes are plain numbers, which a compiler sees are constant; weights are buffers.
        self._plain: dict[str, list[Any]] = {}
        for tensor in content.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                self.register_buffer(self._names[tensor.name], torch.from_numpy(array.copy()))
            else:
                self._plain[tensor.name] = array.reshape(-1).tolist()
        self._steps = [
            (
                _OPERATORS[node.op_type],
                list(node.input),
                node.output[0],
                {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
            )
            for node in content.node
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Of uint8 (N, 1, S, S)."""
        values: dict[str, Any] = {"": None, self._input: images, **self._plain}
        values.update({name: getattr(self, own) for name, own in self._names.items() if name not in self._plain})
        for operator, inputs, output, attributes in self._steps:
            values[output] = operator(attributes, *(values[name] for name in inputs))
        return tuple(values[name] for name in self._outputs)


def _conv(attributes: Attributes, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    sides = weight.ndim - 2
    strides, dilations = (attributes.get(name, [1] * sides) for name in ("strides", "dilations"))
    return F.conv2d(images, weight, bias, strides, _padding(attributes, sides), dilations, attributes.get("group", 1))


def _max_pool(attributes: Attributes, images: Tensor) -> Tensor:
    kernel = attributes["kernel_shape"]
    ceil = bool(attributes.get("ceil_mode", 0))
    return F.max_pool2d(images, kernel, attributes["strides"], _padding(attributes, len(kernel)), ceil_mode=ceil)


def _average_pool(attributes: Attributes, images: Tensor) -> Tensor:
    kernel, ceil = attributes["kernel_shape"], bool(attributes.get("ceil_mode", 0))
    counted = bool(attributes.get("count_include_pad", 0))
    return F.avg_pool2d(images, kernel, attributes["strides"], _padding(attributes, len(kernel)), ceil, counted)


def _padding(attributes: Attributes, sides: int) -> list[int]:
    pads = list(attributes.get("pads", [0] * 2 * sides))
    if pads[:sides] != pads[sides:]:
        raise BundleError(f"The graph pads one side more than the other ({pads}); choose the engine fp32.")
    return pads[:sides]


def _gemm(attributes: Attributes, left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    left = left.T if attributes.get("transA") else left
    right = right.T if attributes.get("transB") else right
    product: Tensor = attributes.get("alpha", 1.0) * (left @ right)
    return product if bias is None else product + attributes.get("beta", 1.0) * bias


def _reduce_mean(attributes: Attributes, values: Tensor, axes: list[int]) -> Tensor:
    return values.mean(axes, keepdim=bool(attributes.get("keepdims", 1)))


def _unsqueeze(_: Attributes, values: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes):
        values = values.unsqueeze(axis)
    return values


def _batch_norm(
    attributes: Attributes, values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return F.batch_norm(values, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(attributes: Attributes, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = attributes.get("axis", -1)
    return F.layer_norm(values, values.shape[axis:], weight, bias, attributes.get("epsilon", 1e-5))


def _gelu(attributes: Attributes, values: Tensor) -> Tensor:
    return F.gelu(values, approximate=attributes.get("approximate", b"none").decode())


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, left, right: left + right,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda attributes, values: values.to(_DTYPES[attributes["to"]]),
    "Clip": lambda _, values, low=None, high=None: torch.clamp(values, low, high),
    "Concat": lambda attributes, *values: torch.cat(values, attributes["axis"]),
    "Conv": _conv,
    "Div": lambda _, left, right: left / right,
    "Einsum": lambda attributes, *values: torch.einsum(attributes["equation"].decode(), *values),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda _, left, right: left @ right,
    "MaxPool": _max_pool,
    "Mul": lambda _, left, right: left * right,
    "Pow": lambda _, base, exponent: base**exponent,
    "Reciprocal": lambda _, values: values.reciprocal(),
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, values: values.relu(),
    "Sigmoid": lambda _, values: values.sigmoid(),
    "Sqrt": lambda _, values: values.sqrt(),
    "Sub": lambda _, left, right: left - right,
    "Transpose": lambda attributes, values: values.permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
