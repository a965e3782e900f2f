"""How fast each engine runs a bundle's graph, and what its answers are worth, on films that no training saw.

Engines take turns on one thread, so that they meet the same noise of a shared machine; medians are reported, and the
ratio to fp32. Beside the engines stand graphs whose weights were pruned, run as fp32 is, to tell whether that pays.
Validation only: no film of the test folder is read.

    python -m benchmarks.engines --bundle pneumonia/reference --data data/chest_xray
"""

import argparse
import importlib.metadata
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.pruning import prune_channels, prune_two_of_four
from pneumonia.bundle import Bundle, load_bundle
from pneumonia.data.cache import open_cache
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import recorded_splits
from pneumonia.evaluation.agreement import compare_outputs
from pneumonia.files import write_json
from pneumonia.inference.engine import Engine, OnnxRuntimeEngine, run_in_batches
from pneumonia.inference.engines.registry import ENGINES, open_engine
from pneumonia.inference.engines.timing import time_engines
from pneumonia.inference.typicality import load_typicality

PROJECT = Path(__file__).parents[1]
OUTPUT = PROJECT / "docs" / "engines.json"
FIRST = "fp32"
SHARE = 0.25
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_PACKAGES = ("onnxruntime", "openvino", "torch")

PRUNED: dict[str, Callable[[onnx.ModelProto], None]] = {
    "fp32, weights pruned 2:4": prune_two_of_four,
    f"fp32, {SHARE:.0%} of the blocks' inner channels pruned": lambda model: prune_channels(model, SHARE),
}


def main() -> None:
    """Measure, print the table, and write the JSON that docs/engines.md is made from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="the tree it was trained on")
    parser.add_argument("--cache-dir", type=Path, default=Path("artifacts/cache"), help="decoded images")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    manifest = scan_tree(options.data)
    held_out = recorded_splits(manifest, bundle.provenance["data"]).validation
    images = open_cache(manifest, bundle.input_size, options.cache_dir, progress=True)[list(held_out)]
    labels = np.array([manifest.rows[row].label == "PNEUMONIA" for row in held_out], dtype=np.int64)
    report = measure(bundle, images, labels, options.rounds)
    print(table(report))
    write_json(options.output, report)


def measure(bundle: Bundle, images: NDArray[np.uint8], labels: NDArray[np.int64], rounds: int) -> dict[str, Any]:
    """Of every engine that is installed, and of the pruned graphs; images (n, S, S) and labels (n,)."""
    engines: dict[str, Engine] = {}
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, opened in _opened(bundle, Path(folder)).items():
            began = time.perf_counter()
            graph, engine = opened()
            engine.run(images[:1])
            rows[name] = {"bytes": graph.stat().st_size, "seconds_to_first_answer": time.perf_counter() - began}
            engines[name] = engine
    outputs = {name: run_in_batches(engine, images) for name, engine in engines.items()}
    typicality = load_typicality(bundle.typicality)
    refused = {name: typicality.excess(images, output.embedding) > 0 for name, output in outputs.items()}
    milliseconds = time_engines(engines, images, rounds=rounds)
    for name, output in outputs.items():
        films = (refused[FIRST], refused[name])
        agreement = compare_outputs(outputs[FIRST], output, labels, bundle.operating_point, films)
        rows[name] |= {
            "milliseconds": {str(batch): took for batch, took in milliseconds[name].items()},
            "speed": {str(batch): milliseconds[FIRST][batch] / took for batch, took in milliseconds[name].items()},
            **vars(agreement),
        }
    return {"bundle": bundle.label, "split": "validation", "n": len(images), "machine": _machine(), "engines": rows}


def table(report: dict[str, Any]) -> str:
    """Markdown: a row an engine."""
    heads = (
        *("engine", "graph, MB", "first answer, s", "ms an image, batch 1", "batch 32", "times fp32", "AUROC"),
        *("accuracy", "largest change of a probability", "decided otherwise", "another set", "another input check"),
    )
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name, row in report["engines"].items():
        took, speed = row["milliseconds"], row["speed"]
        cells = (
            *(name, f"{row['bytes'] / 1e6:.1f}", f"{row['seconds_to_first_answer']:.1f}"),
            *(f"{took['1']:.2f}", f"{took['32']:.2f}", f"{speed['1']:.2f}, {speed['32']:.2f}"),
            *(f"{row['auroc']:.4f}", f"{row['accuracy']:.3f}", f"{row['largest_probability_change']:.3f}"),
            *map(str, (row["decisions_changed"], row["sets_changed"], row["refusals_changed"])),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _opened(bundle: Bundle, folder: Path) -> dict[str, Callable[[], tuple[Path, Engine]]]:
    """By name, what opens an engine and tells its graph's file."""

    def by_name(name: str) -> Callable[[], tuple[Path, Engine]]:
        graph = bundle.quantized_graph if ENGINES[name].quantized else bundle.graph
        assert graph is not None
        return lambda: (graph, open_engine(bundle, name, threads=1))

    def pruned(number: int, prune: Callable[[onnx.ModelProto], None]) -> Callable[[], tuple[Path, Engine]]:
        model, path = onnx.load(bundle.graph), folder / f"{number}.onnx"
        prune(model)
        onnx.save(model, path)
        return lambda: (path, OnnxRuntimeEngine(path, threads=1))

    present = [
        name
        for name, kind in ENGINES.items()
        if kind.installed and (bundle.quantized_graph is not None or not kind.quantized)
    ]
    return {
        **{name: by_name(name) for name in present},
        **{name: pruned(number, prune) for number, (name, prune) in enumerate(PRUNED.items())},
    }


def _machine() -> dict[str, Any]:
    """What of the processor matters to the figures, and the versions of the runtimes."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].splitlines()[0].split())
    except (OSError, IndexError):
        flags = set()
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"features": [name for name in _FEATURES if name in flags], "versions": versions, "threads": 1}


if __name__ == "__main__":
    main()
