"""What a bundle records of its engines: how far each one's answers are from fp32's, how fast it is, and the best."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumonia.bundle import Bundle
from pneumonia.errors import BundleError, ConfigError
from pneumonia.evaluation.agreement import Agreement, AgreementLimits, compare_outputs
from pneumonia.inference.engine import Engine, EngineOutput, run_in_batches
from pneumonia.inference.engines.registry import DEFAULT_ENGINE, ENGINES, open_engine
from pneumonia.inference.engines.timing import time_engines
from pneumonia.inference.typicality import load_typicality

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What changes answers, and what needs another package, has to be faster by this factor for each of the two: medians
# on a shared machine differ by less from one measurement to the next.
_WORTH = 1.1
_THREADS = 1  # as a server's workers have it


@dataclass(frozen=True, eq=False)
class MeasuredEngine:
    """`outputs` on the films, `agreement` with fp32, and `milliseconds` an image by batch size."""

    outputs: EngineOutput
    agreement: Agreement
    milliseconds: dict[int, float]


def measure_engines(
    bundle: Bundle, images: "NDArray[np.uint8]", labels: "NDArray[np.int64]", rounds: int = 15
) -> dict[str, MeasuredEngine]:
    """Every engine that `auto` may take and that is installed here, on films (n, S, S) and labels (n,); fp32 first."""
    typicality = load_typicality(bundle.typicality)
    engines = {name: engine for name in _candidates(bundle) if (engine := _opened(bundle, name)) is not None}
    outputs = {name: run_in_batches(engine, images) for name, engine in engines.items()}
    refused = {name: typicality.excess(images, output.embedding) > 0 for name, output in outputs.items()}
    milliseconds = time_engines(engines, images, rounds=rounds)
    first = DEFAULT_ENGINE
    return {
        name: MeasuredEngine(
            output,
            compare_outputs(outputs[first], output, labels, bundle.operating_point, (refused[first], refused[name])),
            milliseconds[name],
        )
        for name, output in outputs.items()
    }


def describe_engines(
    measured: Mapping[str, MeasuredEngine], limits: AgreementLimits, quantization: dict[str, Any]
) -> dict[str, Any]:
    """The `engines` of `bundle.json`: `order`, best first, the `reason`, and what was measured of each.

    Raises `BundleError` when the answers of int8 go past a limit. Another runtime's may: then `auto` does not take it.
    """
    own = limits.exceeded(measured["int8"].agreement)
    if own:
        raise BundleError(
            f"int8 answers otherwise than fp32: {'; '.join(own)}. Calibrate on other films, allow more "
            "(`pneumonia export --help`), or leave out --quantize."
        )
    order = rank_engines({name: kind for name, kind in measured.items() if not limits.exceeded(kind.agreement)})
    return {
        "order": order,
        "reason": reason(measured, order[0]),
        "threads": _THREADS,
        "limits": asdict(limits),
        "quantization": quantization,
        "measured": {name: _as_json(engine, measured[DEFAULT_ENGINE]) for name, engine in measured.items()},
    }


def rank_engines(measured: Mapping[str, MeasuredEngine]) -> list[str]:
    """Names by the time of one image, best first; what changes answers or needs another package has to be worth it."""

    def cost(name: str) -> float:
        kind = ENGINES[name]
        return measured[name].milliseconds[1] * _WORTH ** ((name != DEFAULT_ENGINE) + bool(kind.extra))

    return sorted(measured, key=cost)


def reason(measured: Mapping[str, MeasuredEngine], name: str) -> str:
    """Why an engine is the best, in words."""
    if name == DEFAULT_ENGINE:
        return f"{name}: no other engine was faster by so much that it is worth it"
    ratio = measured[DEFAULT_ENGINE].milliseconds[1] / measured[name].milliseconds[1]
    largest = measured[name].agreement.largest_probability_change
    return f"{name}: {ratio:.1f} times fp32 at batch 1, largest change of probability {largest:.2g}"


def _candidates(bundle: Bundle) -> list[str]:
    return [
        name
        for name, kind in ENGINES.items()
        if kind.automatic and kind.installed and (bundle.quantized_graph is not None or not kind.quantized)
    ]


def _opened(bundle: Bundle, name: str) -> Engine | None:
    try:
        return open_engine(bundle, name, _THREADS)
    except ConfigError:  # this processor can't
        return None
    except (BundleError, ImportError):
        if ENGINES[name].package == "onnxruntime":
            raise
        return None  # another runtime may be broken, or not read the graph: the bundle does without it


def _as_json(engine: MeasuredEngine, fp32: MeasuredEngine) -> dict[str, Any]:
    agreement = {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in asdict(engine.agreement).items()
    }
    return {
        "milliseconds": {str(batch): round(value, 3) for batch, value in engine.milliseconds.items()},
        "speed": {
            str(batch): round(fp32.milliseconds[batch] / value, 2) for batch, value in engine.milliseconds.items()
        },
        **agreement,
    }
