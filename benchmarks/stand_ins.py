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
from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.command import predict_split
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
    inputs = predict_split(bundle, manifest, "validation", progress=True)
    paths = [manifest.root / path for path in inputs.paths]
    normal = [path for path, label in zip(paths, inputs.labels, strict=True) if label == 0]
    chosen = np.flatnonzero(inputs.labels == 1)[::every]
    if not normal or not len(chosen):
        raise DataError("Both labels have to be held out of the bundle's training.")
    called = np.flatnonzero(inputs.predictions[chosen])
    if not len(called):
        raise DataError("No held-out film is called PNEUMONIA; nothing can be measured.")
    predictor, point = Predictor(bundle, threads=1), bundle.operating_point
    films = np.stack(map_films(lambda film: predictor.read(paths[chosen[film]]).pixels, called.tolist()))

    def odds(images: Pixels) -> NDArray[np.float64]:
        return log_odds(run_in_batches(predictor.engine, images).logits, point.temperature, point.offset)

    def areas_of(stand_in: StandIn, film: int) -> NDArray[np.float64]:
        return film_areas(predictor, paths[chosen[film]], stand_in, film)

    rows = {}
    for name, stand_in in stand_ins(mean_film(predictor, normal)).items():
        areas = np.stack(map_films(partial(areas_of, stand_in), called.tolist(), name))
        names = [str(film) for film in called]
        of_probability, of_log_odds = (faithfulness_figures(areas[:, part], names, 1)["both_beat"] for part in (0, 1))
        rows[name] = {
            "masked": float(odds(np.stack([stand_in(film) for film in films])).mean()),
            "log_odds": of_log_odds["value"],
            "probability": of_probability["value"],
        }
    return {"bundle": bundle.label, "n": len(called), "plain": float(odds(films).mean()), "stand_ins": rows}


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
