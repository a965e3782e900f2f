"""Simplifications of an exported graph that change no answer beyond the rounding of float32."""

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fold_pooled_convolutions(model: ir.Model) -> int:
    """Make one strided convolution of each average pooling that a 1x1 convolution follows; returns how many.

    Both are linear: a k x k pooling without overlap and a 1x1 convolution are a k x k convolution of stride k, whose
    weights are the others' divided by k * k. ONNX Runtime pools outside its blocked layout, to and from which it
    copies: of the reference network's time that was a tenth, and of the quantised one's a fifth. A pooling whose
    windows reach beyond the border, where it averages what is there, stays as it is.
    """
    folded = 0
    for convolution in list(model.graph):
        pooling = convolution.inputs[0].producer() if convolution.op_type == "Conv" and convolution.inputs[0] else None
        if pooling is None or not _is_plain_pooling(pooling) or not _is_pointwise(convolution):
            continue
        kernel = pooling.attributes["kernel_shape"].as_ints()
        weight = convolution.inputs[1]
        assert weight is not None
        wide = _register(model, f"{weight.name}_pooled", _spread(_constant(weight), kernel))
        convolution.replace_input_with(0, pooling.inputs[0])
        convolution.replace_input_with(1, wide)
        convolution.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)
        convolution.attributes["strides"] = ir.AttrInt64s("strides", kernel)
        if not weight.uses():
            model.graph.initializers.pop(str(weight.name))
        model.graph.remove(pooling, safe=True)
        folded += 1
    return folded


def _spread(weights: "NDArray[np.float32]", kernel: "list[int] | tuple[int, ...]") -> "NDArray[np.float32]":
    """(outputs, inputs, 1, 1) to (outputs, inputs, *kernel), with the same sum."""
    return np.tile(weights / np.float32(np.prod(kernel)), (1, 1, *kernel))


def _is_plain_pooling(node: ir.Node) -> bool:
    """Whether it is an average over windows that tile its input, used once."""
    if node.op_type != "AveragePool" or len(node.outputs[0].uses()) != 1 or node.outputs[0].is_graph_output():
        return False
    kernel, shape = _ints(node, "kernel_shape"), node.inputs[0].shape if node.inputs[0] else None
    if shape is None or _ints(node, "strides") != kernel or any(_ints(node, "pads")):
        return False
    sides = list(shape)[2:]
    return all(isinstance(side, int) and side % step == 0 for side, step in zip(sides, kernel, strict=True))


def _is_pointwise(node: ir.Node) -> bool:
    group = node.attributes.get("group")
    weight = node.inputs[1]
    return (
        weight is not None
        and weight.const_value is not None
        and list(_constant(weight).shape[2:]) == [1, 1]
        and set(_ints(node, "strides")) <= {1}
        and not any(_ints(node, "pads"))
        and (group is None or group.as_int() == 1)
    )


def _ints(node: ir.Node, name: str) -> list[int]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else list(attribute.as_ints())


def _constant(value: ir.Value) -> "NDArray[np.float32]":
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), dtype=np.float32)


def _register(model: ir.Model, name: str, content: "NDArray[np.float32]") -> ir.Value:
    tensor, shape = ir.tensor(content, name=name), ir.Shape(content.shape)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    model.graph.initializers[name] = value
    return value
