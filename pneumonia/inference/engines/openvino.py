"""OpenVINO on the CPU: float32, bfloat16, or a graph that is quantised already."""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumonia.errors import BundleError, ConfigError
from pneumonia.inference.engine import OUTPUTS, EngineOutput

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OpenVinoEngine:
    """A graph compiled by OpenVINO. The first run at a new batch size takes longer: kernels are made for it.

    Args:
        graph: the bundle's ONNX file, quantised (QDQ) or not.
        threads: of one run; 0 takes all cores.
        precision: `f32` or `bf16`, of what the graph does not quantise.

    Raises `ConfigError` where the processor has no bfloat16 and it is asked for, `BundleError` for what is no graph.
    """

    def __init__(self, graph: Path, threads: int = 0, precision: str = "f32") -> None:
        # Through this package OpenVINO reports its use to Google Analytics, unasked. It works without, if that is said
        # before its own import.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        core = openvino.Core()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        with _signal_stack_kept():
            able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if precision == "bf16" and "BF16" not in able:
                raise ConfigError(
                    "This processor has no bfloat16; choose the engine openvino instead of openvino-bf16."
                )
            try:
                model = core.read_model(graph)
                names = tuple(output.get_any_name() for output in model.outputs)
                self._compiled = core.compile_model(model, "CPU", settings)
            except RuntimeError as error:
                raise BundleError(f"OpenVINO can't load {graph}: {error}. Export the bundle again.") from error
        if names != OUTPUTS:
            raise BundleError(f"{graph} has the outputs {names}, not {OUTPUTS}; export the bundle again.")
        self._requests = threading.local()

    def run(self, images: "NDArray[np.uint8]") -> EngineOutput:
        """Images (N, S, S) uint8, N >= 1. Each thread has a request of its own: one holds its answer's memory."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        answer = self._requests.own.infer({"images": np.ascontiguousarray(images[:, None])}, share_inputs=True)
        return EngineOutput(*(np.array(answer[name], dtype=np.float32) for name in OUTPUTS))


class _SignalStack(ctypes.Structure):
    """`stack_t` of sigaltstack(2) on Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """Give the thread its own stack for signals back.

    On processors with AVX-512 OpenVINO gives the thread that loads its CPU plugin another one, which it frees with the
    plugin: when that happens on another thread, the next signal that Python handles on this one ends the process.
    """
    if sys.platform != "linux":
        yield
        return
    before = _SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
