"""Engines run a bundle's graph on batches of radiographs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from pneumonia.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUTS = ("logits", "activation_map", "embedding")


class EngineOutput(NamedTuple):
    """Of N images and K classes, float32: `logits` (N, K), `activation_map` (N, K, h, w), `embedding` (N, D)."""

    logits: "NDArray[np.float32]"
    activation_map: "NDArray[np.float32]"
    embedding: "NDArray[np.float32]"


def run_in_batches(engine: "Engine", images: "NDArray[np.uint8]", size: int = 32) -> EngineOutput:
    """Of images (N, S, S) uint8 that are decoded already, such as a cache's, in runs of a bounded size."""
    parts = [engine.run(images[start : start + size]) for start in range(0, len(images), size)]
    return EngineOutput(*map(np.concatenate, zip(*parts, strict=True)))


class Engine(Protocol):
    """Anything that runs a graph."""

    def run(self, images: "NDArray[np.uint8]") -> EngineOutput:
        """Images (N, S, S) uint8, N >= 1."""
        ...


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU.

    Args:
        graph: the bundle's ONNX file.
        threads: of one run; 0 takes all cores. Workers of a server take one each, so that they do not fight.
    """

    def __init__(self, graph: Path, threads: int = 0) -> None:
        # Official builds from 1.29 on report sessions to Microsoft by default; only this, before the import, stops it
        # entirely (Privacy.md of the package).
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes that share no base but this
            words = " ".join(str(error).split())  # some versions end it with a line break
            raise BundleError(f"ONNX Runtime can't load {graph}: {words}. Export the bundle again.") from error
        names = tuple(output.name for output in self._session.get_outputs())
        if names != OUTPUTS:
            raise BundleError(f"{graph} has the outputs {names}, not {OUTPUTS}; export the bundle again.")

    def run(self, images: "NDArray[np.uint8]") -> EngineOutput:
        """Images (N, S, S) uint8, N >= 1."""
        return EngineOutput(*self._session.run(list(OUTPUTS), {"images": images[:, None]}))
