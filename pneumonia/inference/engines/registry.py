"""Engines by name: the graph that each runs, the package that it needs, and which one `auto` takes."""

import argparse
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pneumonia.bundle import Bundle
from pneumonia.errors import BundleError, ConfigError, MissingLibraryError

if TYPE_CHECKING:
    from pneumonia.inference.engine import Engine

ENGINE_VARIABLE = "PNEUMONIA_ENGINE"
AUTO = "auto"
DEFAULT_ENGINE = "fp32"


@dataclass(frozen=True)
class EngineKind:
    """One way of running a bundle.

    Args:
        open: takes the graph's file and a number of threads (0 for all cores).
        package: that has to be importable.
        extra: of this package, which installs it; empty for the base.
        quantized: whether it runs the bundle's int8 graph.
        automatic: whether a measurement at export may make it what `auto` takes.
    """

    open: "Callable[[Path, int], Engine]"
    package: str
    extra: str = ""
    quantized: bool = False
    automatic: bool = True

    @property
    def installed(self) -> bool:
        """Whether its package is there; it is not imported for that."""
        return importlib.util.find_spec(self.package) is not None


def _onnx_runtime(graph: Path, threads: int) -> "Engine":
    from pneumonia.inference.engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, threads)


def _openvino(precision: str) -> "Callable[[Path, int], Engine]":
    def build(graph: Path, threads: int) -> "Engine":
        from pneumonia.inference.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(graph, threads, precision)

    return build


def _torch(compiled: bool) -> "Callable[[Path, int], Engine]":
    def build(graph: Path, threads: int) -> "Engine":
        from pneumonia.inference.engines.torch import TorchEngine

        return TorchEngine(graph, threads, compiled)

    return build


ENGINES = {
    "fp32": EngineKind(_onnx_runtime, "onnxruntime"),
    "int8": EngineKind(_onnx_runtime, "onnxruntime", quantized=True),
    "openvino": EngineKind(_openvino("f32"), "openvino", "openvino"),
    "openvino-bf16": EngineKind(_openvino("bf16"), "openvino", "openvino"),
    "openvino-int8": EngineKind(_openvino("f32"), "openvino", "openvino", quantized=True),
    "torch": EngineKind(_torch(compiled=False), "torch", "train", automatic=False),
    "torch-compiled": EngineKind(_torch(compiled=True), "torch", "train", automatic=False),
}


@dataclass(frozen=True)
class Choice:
    """The engine that was asked for or that `auto` takes, and what a user should hear of that; empty for nothing."""

    name: str
    note: str = ""


def add_engine_option(parser: argparse._ActionsContainer) -> None:
    """`--engine NAME`, None when it is not given: `asked_engine` reads the environment then."""
    parser.add_argument(
        "--engine",
        choices=(AUTO, *ENGINES),
        help=f"what runs the bundle's graph; `{AUTO}` is what was found best when it was exported "
        f"[{ENGINE_VARIABLE}, default {AUTO}]",
    )


def asked_engine(options: argparse.Namespace) -> str:
    """The name that `--engine` gives, else the environment's, else `auto`. Raises `ConfigError` for another name."""
    name = options.engine or os.environ.get(ENGINE_VARIABLE) or AUTO
    if name not in (AUTO, *ENGINES):
        raise ConfigError(f"{ENGINE_VARIABLE} names no engine ({name!r}): set it to {', '.join((AUTO, *ENGINES))}.")
    return str(name)


def choose_engine(bundle: Bundle, name: str = AUTO) -> Choice:
    """Check that the bundle and this machine have the engine; of `auto`, the first that both have.

    Raises `BundleError` when the bundle lacks the graph, `MissingLibraryError` when the package is not installed,
    `ConfigError` for an unknown name.
    """
    if name == AUTO:
        return _automatic(bundle)
    if name not in ENGINES:
        raise ConfigError(f"There is no engine {name!r}; choose {', '.join((AUTO, *ENGINES))}.")
    kind = ENGINES[name]
    if kind.quantized and bundle.quantized_graph is None:
        raise BundleError(
            f"{bundle.label} has no int8 graph, which the engine {name} runs: export it with `--quantize int8`, or "
            f"choose the engine {DEFAULT_ENGINE}."
        )
    if not kind.installed:
        raise MissingLibraryError(f"The engine {name} needs {_how_to_install(kind)}, or choose another engine.")
    return Choice(name)


def open_engine(bundle: Bundle, name: str = AUTO, threads: int = 0) -> "Engine":
    """The engine at work on the bundle's graph. Raises what `choose_engine` raises, and `BundleError` for the graph."""
    kind = ENGINES[choose_engine(bundle, name).name]
    graph = bundle.quantized_graph if kind.quantized else bundle.graph
    assert graph is not None
    return kind.open(graph, threads)


def _automatic(bundle: Bundle) -> Choice:
    """The bundle's list is of the machine that exported it; this one may lack a package, or an older name a kind."""
    passed_over: list[str] = []
    for name in [*bundle.engines.get("order", []), DEFAULT_ENGINE]:
        kind = ENGINES.get(name)
        if kind is None or (kind.quantized and bundle.quantized_graph is None):
            continue
        if kind.installed:
            note = ""
            if passed_over:
                first = passed_over[0]
                note = (
                    f"{first} was found best for {bundle.label}, and is not installed here: {name} is used instead. "
                    f"For {first}: {_how_to_install(ENGINES[first])}."
                )
            return Choice(name, note)
        passed_over.append(name)
    raise MissingLibraryError("No engine is installed: install the package onnxruntime.")


def _how_to_install(kind: EngineKind) -> str:
    wanted = f"pneumonia[{kind.extra}]" if kind.extra else kind.package
    return f"the package {kind.package} (pip install '{wanted}')"
