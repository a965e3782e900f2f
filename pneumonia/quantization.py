"""A graph in 8 bits: static quantisation of its convolutions, with ranges from films of train.

Weights are signed, per channel and symmetric, activations unsigned, per tensor. What was chosen, on validation films of
the reference network (1.4 million weights, 96 px), by the largest change of a probability:

- Only convolutions: they are nine tenths of the time. The linear layer and the activation map stay in float32.
- Not the first ones: they read standardised images, whose range differs from film to film (0.045 with them, 0.033
  without), and with one channel they are as fast in float32.
- Ranges that hold 99.999% of the values, of films as they are and of augmented ones: blurred, noisy and badly exposed
  films then stay as close as the others (0.031 on both; from films as they are 0.039 and 0.041; from the smallest and
  largest values 0.042 and 0.055; with 99.99% the augmented ones move by 0.067).
- Weights of 7 bits (`reduce_range`): processors without VNNI add pairs of products in 16 bits, which 8-bit weights
  overflow, silently. It costs little (0.040 where 8 bits give 0.036).
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from pneumonia.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERCENTILE = 99.999
_BATCH = 32  # at most


def quantize_graph(graph: Path, output: Path, films: "NDArray[np.uint8]") -> dict[str, Any]:
    """Write the graph in int8, calibrated on films (n, S, S); returns how it was made, for the bundle.

    The same graph and films give the same bytes. Raises `ConfigError` for a graph that has no convolution but its
    first.
    """
    model = onnx.load(graph)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    kept = first_convolutions(model)
    if set(convolutions) <= set(kept):
        raise ConfigError("The network has no convolution but its first, so int8 would change nothing: leave it out.")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / graph.name
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            output,
            _Films(films),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
    return {
        "method": f"static, per channel, 7-bit weights, ranges of {PERCENTILE}% of the values",
        "calibration_films": len(films),
        "quantized": len(convolutions) - len(kept),
        "float": len(kept),
    }


def first_convolutions(model: onnx.ModelProto) -> list[str]:
    """The names of the convolutions before which there is no other."""
    behind: set[str] = set()  # values that a convolution came before
    first = []
    for node in model.graph.node:  # in topological order, as ONNX demands
        after = any(name in behind for name in node.input)
        if node.op_type == "Conv" and not after:
            first.append(node.name)
        if after or node.op_type == "Conv":
            behind.update(node.output)
    return first


class _Films(CalibrationDataReader):  # type: ignore[misc]
    """Batches of films, for a graph's input: of one size, since ONNX Runtime stacks what they give."""

    def __init__(self, films: "NDArray[np.uint8]") -> None:
        size = max(size for size in range(1, _BATCH + 1) if len(films) % size == 0)
        self._batches = iter([films[start : start + size, None] for start in range(0, len(films), size)])

    def get_next(self) -> "dict[str, NDArray[np.uint8]] | None":
        """The next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime prints every step, and warns that preprocessing, which was done, should be."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
