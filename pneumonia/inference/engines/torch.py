"""PyTorch on the CPU, for comparison; imported only when it is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

from pneumonia.errors import ConfigError
from pneumonia.inference.engine import EngineOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TorchEngine:
    """The bundle's graph in PyTorch, eager or compiled.

    Args:
        graph: the bundle's ONNX file, not quantised.
        threads: of PyTorch in this whole process; 0 leaves them as they are.
        compiled: by `torch.compile` at the first run, which takes half a minute and a C++ compiler.
    """

    def __init__(self, graph: Path, threads: int = 0, compiled: bool = False) -> None:
        import torch

        from pneumonia.models.graph import TorchGraph

        self._module = TorchGraph(graph).eval()
        if threads:
            torch.set_num_threads(threads)
        if compiled:
            self._module.compile(dynamic=True)

    def run(self, images: "NDArray[np.uint8]") -> EngineOutput:
        """Images (N, S, S) uint8, N >= 1. Raises `ConfigError` when the compiler fails."""
        import torch

        try:
            with torch.inference_mode():
                outputs = self._module(torch.from_numpy(images[:, None].copy()))
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ConfigError(f"torch.compile failed ({error}); choose the engine torch.") from error
        return EngineOutput(*(output.numpy() for output in outputs))
