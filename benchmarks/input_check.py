"""How well a bundle's input check tells frontal chest films from everything else.

Real films of a split, against pictures, scans and drawings (`benchmarks.negatives`) and against the same films turned,
mirrored and inverted. Reported are the AUROC of `InputCheck.score`, overall (the mean over the kinds, so that no kind
counts by its number) and by kind, what was refused, and how long the check takes. Mild changes of the films, which are
to pass, are counted apart. Limits are chosen on validation; `--split test` is for the report.

    python -m benchmarks.input_check --bundle pneumonia/reference --data data/chest_xray --split validation
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.negatives import CHEST, Negative, Pixels, collect, upload
from pneumonia.bundle import load_bundle
from pneumonia.data.manifest import Manifest, scan_tree
from pneumonia.data.splits import recorded_splits
from pneumonia.evaluation.corruptions import CORRUPTIONS
from pneumonia.evaluation.metrics import auroc
from pneumonia.evaluation.robustness_views import film_seed
from pneumonia.files import write_json
from pneumonia.images import Radiograph, read_radiograph
from pneumonia.inference.input_check import InputCheck, check_inputs
from pneumonia.inference.predictor import Predictor

_BATCH = 32
_ROUNDS = 30
_TURNS: dict[str, Callable[[Pixels], Pixels]] = {
    "turned by 90 degrees": lambda pixels: np.rot90(pixels, 1),
    "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2),
    "turned by 270 degrees": lambda pixels: np.rot90(pixels, 3),
    "mirrored top to bottom": lambda pixels: pixels[::-1],
    "inverted": lambda pixels: 255 - pixels,
}
# Corruption and grade; turned by up to 15 degrees, and a window or a frame of 0.85 of each side.
_MILD = (("rotation", 5), ("crop", 2), ("crop", 3), ("border", 3), ("stretch", 3))


def main() -> None:
    """Measure, print a table, and write everything as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"), help="the tree it was trained on")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    predictor = Predictor(load_bundle(settings.bundle), settings.threads)
    report = measure(predictor, _films(predictor, settings.data, settings.split))
    report = {"bundle": predictor.bundle.label, "split": settings.split, **report}
    print(table(report))
    if settings.output is not None:
        write_json(settings.output, report)


def measure(predictor: Predictor, films: Manifest) -> dict[str, Any]:
    """The report: `films`, `mild`, `auroc`, `kinds`, `images` (one entry each), `absent`, `milliseconds`."""
    radiographs = [predictor.read(path) for path in films.paths()]
    real = _check(predictor, radiographs)
    found, absent = collect(predictor.bundle.input_size)
    checks = _check(predictor, [negative.radiograph for negative in found])
    by_kind: dict[str, list[InputCheck]] = {}
    for negative, check in zip(found, checks, strict=True):
        by_kind.setdefault(negative.kind, []).append(check)
    chest = by_kind.pop(CHEST, [])
    for name, turn in _TURNS.items():
        by_kind[f"chest film, {name}"] = _check(predictor, [_turned(film, turn) for film in radiographs])
    kinds = {kind: {**_refused(of_kind), "auroc": _auroc(real, of_kind)} for kind, of_kind in by_kind.items()}
    foreign = [check for kind, of_kind in by_kind.items() if not kind.startswith(CHEST) for check in of_kind]
    labels = [row.label for row in films.rows]
    return {
        "films": _refused(real) | {label: _refused(_where(real, labels, label)) for label in sorted(set(labels))},
        "chest_films_of_packages": _refused(chest),
        "mild": {f"{name}, grade {grade}": _mild(predictor, films, name, grade) for name, grade in _MILD},
        "auroc": {
            "overall": float(np.mean([kind["auroc"] for kind in kinds.values()])),
            "lowest": min(kind["auroc"] for kind in kinds.values()),
            "pooled": _auroc(real, [check for of_kind in by_kind.values() for check in of_kind]),
            "pooled_without_turned_films": _auroc(real, foreign),
        },
        "kinds": kinds,
        "images": [_entry(negative, check) for negative, check in zip(found, checks, strict=True)],
        "absent": absent,
        "milliseconds": _milliseconds(predictor, radiographs),
    }


def table(report: dict[str, Any]) -> str:
    """Markdown: the films, the kinds, the mild changes."""
    lines = [
        f"{report['bundle']}, {report['split']}",
        "",
        "| what | n | refused | AUROC |",
        "| --- | --- | --- | --- |",
    ]
    rows = {"real films": report["films"], **report["kinds"]}
    rows |= {f"real films, {name}": row for name, row in report["mild"].items()}
    rows["chest films that packages ship"] = report["chest_films_of_packages"]
    for name, row in rows.items():
        area = f"{row['auroc']:.4f}" if "auroc" in row else ""
        lines.append(f"| {name} | {row['n']} | {row['share']:.1%} | {area} |")
    lines += ["", *(f"AUROC, {name.replace('_', ' ')}: {value:.5f}" for name, value in report["auroc"].items())]
    lines += [f"{name.replace('_', ' ')}: {value:.3f} ms a film" for name, value in report["milliseconds"].items()]
    return "\n".join([*lines, *(f"absent: {name}" for name in report["absent"])])


def _films(predictor: Predictor, root: Path, split: str) -> Manifest:
    """A split as the bundle's training had it."""
    manifest = scan_tree(root)
    splits = recorded_splits(manifest, predictor.bundle.provenance.get("data", {}))
    return manifest.select(splits.named(split))


def _check(predictor: Predictor, radiographs: Sequence[Radiograph]) -> list[InputCheck]:
    """As it is served: what the prediction says."""
    batches = (radiographs[start : start + _BATCH] for start in range(0, len(radiographs), _BATCH))
    return [prediction.input_check for batch in batches for prediction in predictor.predict(batch)]


def _turned(film: Radiograph, turn: Callable[[Pixels], Pixels]) -> Radiograph:
    """Squashed to a square and turned is turned and squashed."""
    return replace(film, pixels=np.ascontiguousarray(turn(film.pixels)))


def _mild(predictor: Predictor, films: Manifest, name: str, grade: int) -> dict[str, Any]:
    """On films of twice the input's side, which is quicker than their full size and keeps what the input can show."""
    size = predictor.bundle.input_size
    changed = []
    for row, path in zip(films.rows, films.paths(), strict=True):
        film = read_radiograph(path, 2 * size)
        pixels = CORRUPTIONS[name].apply(film.pixels, grade, film_seed(row.sha256))
        changed.append(replace(film, pixels=upload(pixels, size).pixels))
    return _refused(_check(predictor, changed))


def _refused(checks: Sequence[InputCheck]) -> dict[str, Any]:
    count = sum(not check.passed for check in checks)
    return {"n": len(checks), "refused": count, "share": count / max(1, len(checks))}


def _where(checks: Sequence[InputCheck], labels: Sequence[str], label: str) -> list[InputCheck]:
    return [check for check, own in zip(checks, labels, strict=True) if own == label]


def _auroc(real: Sequence[InputCheck], negatives: Sequence[InputCheck]) -> float:
    """How often one that is no film scores above a film; the logistic function keeps the order."""
    scores = np.array([check.score for check in (*real, *negatives)])
    return auroc([0] * len(real) + [1] * len(negatives), 1 / (1 + np.exp(-scores)))


def _entry(negative: Negative, check: InputCheck) -> dict[str, Any]:
    return {"kind": negative.kind, "origin": negative.origin, **asdict(check)}


def _milliseconds(predictor: Predictor, radiographs: Sequence[Radiograph]) -> dict[str, float]:
    """A film's share of the check without the network's run, alone and in a batch: the best of several rounds."""
    times = {}
    for name, count in (("check_alone", 1), ("check_in_a_batch_of_32", _BATCH)):
        batch = radiographs[:count]
        embeddings = predictor.engine.run(np.stack([film.pixels for film in batch])).embedding
        rounds = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            check_inputs(batch, embeddings, predictor.typicality)
            rounds.append(time.perf_counter() - began)
        times[name] = 1000 * min(rounds) / len(batch)
    return times


if __name__ == "__main__":
    main()
