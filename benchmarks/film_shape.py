"""What films of another shape do to a bundle: each side's films cut alike, so that they are wider or narrower.

A network that squashes films to a square sees a narrow chest in a wide film, and in this collection films with
pneumonia are the wider ones. The held-out films of the bundle's training are cut at two sides, as the corruption
`stretch` cuts them, all of them the same way and by the same ratio: what a site whose films have another shape sends.
The figures are at the bundle's threshold; the last column is the accuracy of the others after `recalibrate` on a
hundred of them (`benchmarks.own_films`). No film of the test folder is read.

    python -m benchmarks.film_shape --data data/chest_xray
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.own_films import measure as measure_own_films
from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import recorded_splits
from pneumonia.errors import ConfigError
from pneumonia.evaluation.corruptions import cut_to_shape
from pneumonia.evaluation.metrics import accuracy, auroc, ece, sensitivity, specificity
from pneumonia.evaluation.operating_point import log_odds, positive_probability
from pneumonia.evaluation.robustness_views import lossless
from pneumonia.files import write_json
from pneumonia.images import read_radiograph
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.predictor import Predictor
from pneumonia.parallel import map_films

RATIOS = (0.75, 0.85, 1.0, 1.15, 1.25, 1.35)
FIGURES = {"accuracy": accuracy, "sensitivity": sensitivity, "specificity": specificity}
_OWN_FILMS, _REPEATS = 100, 200


def measure(bundle_directory: Path, data: Path, ratios: tuple[float, ...]) -> dict[str, Any]:
    """The figures of each ratio, and by how much the log-odds of each label move on the mean."""
    if any(ratio <= 0 for ratio in ratios):
        raise ConfigError(f"A ratio of width to height is above 0; these are {ratios}.")
    bundle, manifest = load_bundle(bundle_directory), scan_tree(data)
    held_out = manifest.select(recorded_splits(manifest, bundle.provenance["data"]).validation)
    labels = np.array([row.label == "PNEUMONIA" for row in held_out.rows]).astype(np.int64)
    patients = np.array([row.patient for row in held_out.rows])
    predictor, point = Predictor(bundle), bundle.operating_point

    def views(path: Path) -> NDArray[np.uint8]:
        pixels = read_radiograph(path).pixels
        return np.stack([predictor.read(lossless(cut_to_shape(pixels, ratio))).pixels for ratio in ratios])

    images = np.stack(map_films(views, held_out.paths(), "cut"))
    logits = [run_in_batches(predictor.engine, view).logits for view in images.transpose(1, 0, 2, 3)]
    odds = np.stack([log_odds(of_view, point.temperature, point.offset) for of_view in logits])
    rows = {}
    for ratio, of_view, moved in zip(ratios, logits, odds - odds[ratios.index(1.0)], strict=True):
        scores = positive_probability(of_view, point.temperature, point.offset)
        (own,) = measure_own_films(labels, scores, patients, [point.rule], _OWN_FILMS, _REPEATS)
        rows[f"{ratio:g}"] = {
            "auroc": auroc(labels, scores),
            **{name: figure(labels, scores, point.threshold) for name, figure in FIGURES.items()},
            "ece": ece(labels, scores),
            "moved": {"NORMAL": float(moved[labels == 0].mean()), "PNEUMONIA": float(moved[labels == 1].mean())},
            "recalibrated": own["accuracy"],
        }
    return {"bundle": bundle.label, "n": len(labels), "own_films": _OWN_FILMS, "rule": point.rule, "ratios": rows}


def table(report: dict[str, Any]) -> str:
    """Markdown: a row a ratio."""
    head = ["width to height", "AUROC", *FIGURES, "ECE", "log-odds moved: NORMAL, PNEUMONIA"]
    head.append(f"accuracy, recalibrated on {report['own_films']} films")
    lines = [f"`{report['bundle']}`, {report['n']} films of held-out patients:", ""]
    lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for ratio, row in report["ratios"].items():
        cells = [f"{ratio} times" if ratio != "1" else "as it is", f"{row['auroc']:.4f}"]
        cells += [f"{row[name]:.3f}" for name in (*FIGURES, "ece")]
        cells.append(f"{row['moved']['NORMAL']:+.2f}, {row['moved']['PNEUMONIA']:+.2f}")
        own = row["recalibrated"]
        cells.append(f"{own['value']:.3f} ({own['low']:.3f}-{own['high']:.3f})")
        lines.append(f"| {' | '.join(cells)} |")
    mean = {ratio: (row["sensitivity"] + row["specificity"]) / 2 for ratio, row in report["ratios"].items()}
    lowest = min(mean, key=mean.__getitem__)
    lines += ["", f"Lowest mean of sensitivity and specificity: {mean[lowest]:.3f}, at {lowest} times."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write everything as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"))
    parser.add_argument("--output", type=Path, help="a JSON file")
    settings = parser.parse_args()
    report = measure(settings.bundle, settings.data, RATIOS)
    print(table(report))
    if settings.output is not None:
        write_json(settings.output, report)


if __name__ == "__main__":
    main()
