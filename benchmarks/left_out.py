"""What networks make of a series of films that had no part in their training: what patients drawn at random can't show.

The NORMAL films of train are of two series, told by the patients' names. Each variant of a config is trained twice,
without the one and without the other, and judged on the series it never saw against the PNEUMONIA films of the
patients drawn for validation. Temperatures and thresholds are fitted as `pneumonia export` fits them, on the drawn
patients that are not of that series; how far sensitivity and specificity then stay from what the rule promised is what
films from elsewhere cost. `--series fifth-1` to `fifth-5` leave out fifths of both series instead, in the order of
their patients' numbers: the numbers of the first are next to those of the test folder.

No film of the test folder is read. Runs are kept: what was interrupted goes on where it stopped.

    python -m benchmarks.left_out --data data/chest_xray
"""

import argparse
import itertools
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import TRACING, begin, study_parser, train
from pneumonia.data.cache import open_cache
from pneumonia.data.manifest import Manifest, scan_tree
from pneumonia.data.splits import assign_splits, recorded_splits
from pneumonia.evaluation.metrics import auroc, ece, sensitivity, specificity
from pneumonia.evaluation.operating_point import fit_operating_point, positive_probability
from pneumonia.export import ExportOptions, augmented_views, export_graph, load_checkpoint
from pneumonia.files import write_json
from pneumonia.inference.engine import OnnxRuntimeEngine, run_in_batches

VARIANTS = Path(__file__).parent / "left_out.yaml"
SERIES = {"IM": "IM-", "NORMAL2": "NORMAL2-IM-"}
FIFTHS = {f"fifth-{place + 1}": place for place in range(5)}


def pattern_of(part: str, manifest: Manifest) -> str:
    """What the names of the patients of a series, or of a fifth of the NORMAL films of each by number, begin with."""
    if part in SERIES:
        return SERIES[part]
    patients = []
    for series in SERIES.values():
        named = [row.patient for row in manifest.rows if row.split == "train" and row.patient.startswith(series)]
        films = Counter(sorted(named, key=lambda patient: int(patient.removeprefix(series))))
        before = np.cumsum(list(films.values())) - np.array(list(films.values())) / 2
        patients += [
            patient
            for patient, share in zip(films, before / len(named), strict=True)
            if int(len(FIFTHS) * share) == FIFTHS[part]
        ]
    return f"(?:{'|'.join(sorted(patients))})$"


def measure(
    name: str, variant: dict[str, Any], series: str, pattern: str, settings: argparse.Namespace
) -> dict[str, Any]:
    """What `judge` says of a variant that was trained without a series, the patients of a pattern."""
    options = {**variant.get("options", {}), "data.leave_out": pattern}
    result = judge(train(f"{name}-without-{series}", {**variant, "options": options}, settings), settings)
    print(f"{name} without {series}: {result}", flush=True)
    return result


def judge(folder: Path, settings: argparse.Namespace) -> dict[str, Any]:
    """A run's last epoch on the series that it left out, by each rule.

    `n` counts films of the drawn patients and of the series; `drawn` is the AUROC of the drawn patients, `auroc` that
    of the series against their PNEUMONIA films, `ece` the calibration error of the same; for each rule `threshold`,
    `sensitivity` of the drawn PNEUMONIA films and `specificity` of the drawn NORMAL films and of the series.
    """
    classifier, provenance = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    manifest, data, size = scan_tree(settings.data), provenance["data"], classifier.image_size
    held_out = np.array(recorded_splits(manifest, data).validation)
    drawn = np.isin(held_out, assign_splits(manifest, data["validation_fraction"], data["split_seed"]).validation)
    named = np.array([re.match(data["leave_out"], manifest.rows[index].patient) is not None for index in held_out])
    truth = np.array([manifest.rows[index].label == "PNEUMONIA" for index in held_out]).astype(np.int64)
    images = open_cache(manifest, size, settings.work / "cache")[held_out]
    graph = folder / "model.onnx"
    with TRACING:
        export_graph(classifier.network, size, graph)
    engine = OnnxRuntimeEngine(graph, settings.threads)
    views = [images, *augmented_views(classifier.augmentation, images, settings.views)]
    logits = [run_in_batches(engine, view).logits for view in views]
    fitted, judged = drawn & ~named, named | (truth == 1)
    rules = {}
    for rule in settings.rules:
        point = fit_operating_point(
            np.concatenate([view[fitted] for view in logits]), np.tile(truth[fitted], len(views)), rule
        )
        scores = positive_probability(logits[0], point.temperature)
        rules[rule] = {
            "threshold": point.threshold,
            "sensitivity": sensitivity(truth[judged], scores[judged], point.threshold),
            "drawn_specificity": specificity(truth[fitted], scores[fitted], point.threshold),
            "specificity": specificity(truth[judged], scores[judged], point.threshold),
        }
    return {
        "n": {"drawn": int(fitted.sum()), "left_out": int(named.sum())},
        "drawn": auroc(truth[fitted], scores[fitted]),
        "auroc": auroc(truth[judged], scores[judged]),
        "temperature": point.temperature,
        "ece": ece(truth[judged], scores[judged]),
        "rules": rules,
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row for each variant and series that was left out of its training."""
    rules = list(next(iter(next(iter(results.values()))["series"].values()))["rules"])
    head = ["variant", "what", "left out", "AUROC, drawn", "AUROC, left out", "ECE, left out"]
    head += [f"`{rule}`" for rule in rules]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, variant in results.items():
        for series, one in variant["series"].items():
            cells = [f"`{name}`", variant["what"], series, f"{one['drawn']:.4f}", f"{one['auroc']:.4f}"]
            cells.append(f"{one['ece']:.3f}")
            for rule in rules:
                shares = [one["rules"][rule][key] for key in ("sensitivity", "drawn_specificity", "specificity")]
                cells.append(" / ".join(f"{share:.3f}" for share in shares))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train the variants without each series, several side by side, and write their table."""
    parser = study_parser(__doc__, VARIANTS, Path("docs/left-out.json"))
    parser.add_argument(
        "--series",
        nargs="*",
        choices=[*SERIES, *FIFTHS],
        default=list(SERIES),
        help="to leave out (default: each series, no fifth)",
    )
    parser.add_argument("--views", type=int, default=ExportOptions.views, help="augmented copies of a validation film")
    settings = parser.parse_args()
    study, chosen = begin(settings)
    settings.rules, variants = study["rules"], study["variants"]
    manifest = scan_tree(settings.data)
    patterns = {series: pattern_of(series, manifest) for series in settings.series}
    with ThreadPoolExecutor(settings.parallel) as pool:
        runs = list(itertools.product(chosen, settings.series))
        made = list(pool.map(lambda run: measure(run[0], chosen[run[0]], run[1], patterns[run[1]], settings), runs))
    results = _measured(settings.output, variants)
    for (name, series), one in zip(runs, made, strict=True):
        results.setdefault(name, {"what": variants[name]["what"], "series": {}})["series"][series] = one
    results = {name: results[name] for name in variants if name in results}
    write_json(settings.output, results)
    print(table(results))


def _measured(path: Path, variants: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was measured before, of variants that are still what they were."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: row for name, row in kept.items() if name in variants and row["what"] == variants[name]["what"]}


if __name__ == "__main__":
    main()
