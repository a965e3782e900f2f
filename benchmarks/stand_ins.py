"""What may stand in for a film's pixels when deletion and insertion measure a heatmap.

Deletion asks whether the probability of PNEUMONIA falls as the hottest pixels go. It can fall only where what stands in
for them is no sign of the disease to the network. For each candidate this prints the log-odds of the films as they are
and when they are masked whole, and for how many films the heatmap beats random masks. Held-out films of the bundle's
training that are labelled and called PNEUMONIA, every so many of them; no film of the test folder is read.

    python -m benchmarks.stand_ins --data data/chest_xray
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pneumonia.bundle import REFERENCE, load_bundle
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import recorded_splits
from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.faithfulness import faithfulness_figures, film_areas, mean_film
from pneumonia.evaluation.operating_point import log_odds
from pneumonia.files import write_json
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.predictor import Predictor
from pneumonia.parallel import map_films

Pixels = NDArray[np.uint8]
StandIn = Callable[[Pixels], Pixels]


def stand_ins(mean_normal: Pixels) -> dict[str, StandIn]:
    """What is tried, by what the table calls it; the first is what `evaluate --faithfulness` takes."""
    return {
        "the mean NORMAL film": lambda _: mean_normal,
        "its mirror image": lambda film: np.ascontiguousarray(film[:, ::-1]),
        "itself, blurred by 0.02 of its side": lambda film: _blurred(film, 0.02),
        "itself, blurred by 0.05 of its side": lambda film: _blurred(film, 0.05),
        "its mean gray level": lambda film: np.full_like(film, round(float(film.mean()))),
        "black": np.zeros_like,
        "white": lambda film: np.full_like(film, 255),
    }


def _blurred(film: Pixels, part: float) -> Pixels:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(part * len(film))))


def measure(bundle_directory: Path, data: Path, every: int = 1) -> dict[str, Any]:
    """The figures of each candidate. Raises `DataError` unless both labels were held out and a film is called so."""
    if every < 1:
        raise ConfigError(f"One film in {every} is none; give 1 or more.")
    bundle, manifest = load_bundle(bundle_directory), scan_tree(data)
    held_out = manifest.select(recorded_splits(manifest, bundle.provenance["data"]).validation)
    by_label: dict[str, list[Path]] = {"NORMAL": [], "PNEUMONIA": []}
    for path, row in zip(held_out.paths(), held_out.rows, strict=True):
        by_label[row.label].append(path)
    predictor, point = Predictor(bundle, threads=1), bundle.operating_point

    def odds(films: Pixels) -> NDArray[np.float64]:
        return log_odds(run_in_batches(predictor.engine, films).logits, point.temperature, point.offset)

    chosen = by_label["PNEUMONIA"][::every]
    if not by_label["NORMAL"] or not chosen:
        raise DataError("Both labels have to be held out of the bundle's training.")
    films = np.stack(map_films(lambda path: predictor.read(path).pixels, chosen))
    plain = odds(films)
    called = np.flatnonzero(plain >= np.log(point.threshold / (1 - point.threshold)))
    if not len(called):
        raise DataError("No held-out film is called PNEUMONIA; nothing can be measured.")

    def areas_of(stand_in: StandIn, film: int) -> NDArray[np.float64]:
        return film_areas(predictor, chosen[film], stand_in, film)

    rows = {}
    for name, stand_in in stand_ins(mean_film(predictor, by_label["NORMAL"])).items():
        areas = np.stack(map_films(partial(areas_of, stand_in), called.tolist(), name))
        names = [str(film) for film in called]
        of_probability, of_log_odds = (faithfulness_figures(areas[:, part], names, 1)["both_beat"] for part in (0, 1))
        rows[name] = {
            "masked": float(odds(np.stack([stand_in(film) for film in films[called]])).mean()),
            "log_odds": of_log_odds["value"],
            "probability": of_probability["value"],
        }
    return {"bundle": bundle.label, "n": len(called), "plain": float(plain[called].mean()), "stand_ins": rows}


def table(report: dict[str, Any]) -> str:
    """Markdown: a row a candidate."""
    lines = [
        f"`{report['bundle']}`, {report['n']} films of held-out patients; log-odds as they are {report['plain']:+.1f}:",
        "",
        "| what stands in | log-odds of a film that is masked whole | heatmap beats, by log-odds | by probability |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in report["stand_ins"].items():
        lines.append(f"| {name} | {row['masked']:+.1f} | {row['log_odds']:.1%} | {row['probability']:.1%} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write everything as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=REFERENCE)
    parser.add_argument("--data", type=Path, default=Path("data/chest_xray"))
    parser.add_argument("--every", type=int, default=4, help="of how many films one is taken (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="a JSON file")
    settings = parser.parse_args()
    report = measure(settings.bundle, settings.data, settings.every)
    print(table(report))
    if settings.output is not None:
        write_json(settings.output, report)


if __name__ == "__main__":
    main()
