"""Whether the heatmap shows what the decision rests on: deletion and insertion against random masks.

Petsiuk, Das and Saenko (2018), "RISE": take the film away pixel by pixel, the hottest first, and the probability should
fall fast (a small area under its curve); bring it back in the same order, and it should rise fast. What stands in for
pixels that are away has to be what the network does not take for disease, or there is nothing to fall: the reference
calls a blurred or blank film PNEUMONIA with more confidence than the film (`benchmarks/stand_ins.py`). Here it is the
mean of the split's NORMAL films (the choice of a baseline: Sturmfels, Lundberg and Lee 2020, "Visualizing the Impact of
Feature Attribution Baselines"). A probability near one hardly moves until most of a film is gone: the same is measured
of its log-odds, which do.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pneumonia.bundle import Bundle
from pneumonia.errors import DataError
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import LEVEL, RESAMPLES, bootstrap_share
from pneumonia.evaluation.operating_point import log_odds, positive_probability
from pneumonia.evaluation.weighted import Floats
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.heatmap import pneumonia_evidence
from pneumonia.parallel import map_films

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pneumonia.inference.predictor import Predictor

    Pixels = NDArray[np.uint8]

_STEPS = 16
_RANDOM_MASKS = 8
_BASELINE_FILMS = 200  # of the NORMAL ones, evenly spread: more hardly change their mean
_SEED = 0


def measure_faithfulness(
    bundle: Bundle, root: "Path", inputs: EvaluationInput, resamples: int = RESAMPLES, progress: bool = False
) -> dict[str, Any]:
    """Deletion and insertion of every film that was called PNEUMONIA; `root` is the tree of `inputs.paths`.

    `n` films; `deletion` and `insertion` have the mean area under the curve of the `heatmap` and of `random` masks,
    each in [0, 1]; `deletion_beats`, `insertion_beats` and `both_beat` are the shares of films for which the heatmap
    beats the mean of 8 random masks of the map's own coarseness, as `{"value", "low", "high"}`. `log_odds` has the same
    of areas under the curves of the log-odds. `baseline` is the probability of what stands in for pixels, the mean of
    the split's NORMAL films: where that is high, the rest says little. Raises `DataError` where films are called
    PNEUMONIA and none is NORMAL.
    """
    from pneumonia.inference.predictor import Predictor

    predictor = Predictor(bundle, threads=1, engine=inputs.engine)
    called = np.flatnonzero(inputs.predictions == 1).tolist()
    if not called:
        return {**_figures([], [], resamples), "baseline": None}
    normal = [root / path for path, label in zip(inputs.paths, inputs.labels, strict=True) if label == 0]
    if not normal:
        raise DataError(
            f"The split {inputs.split!r} has no NORMAL film, whose mean --faithfulness masks films by; choose a split "
            "that has both labels, or leave it out."
        )
    baseline = mean_film(predictor, normal)
    areas = map_films(
        lambda film: film_areas(predictor, root / inputs.paths[film], lambda _: baseline, film),
        called,
        "faithfulness" if progress else None,
    )
    point = bundle.operating_point
    without = positive_probability(predictor.engine.run(baseline[None]).logits, point.temperature, point.offset)
    patients = [inputs.patients[film] for film in called]
    return {**_figures(areas, patients, resamples), "baseline": float(without[0])}


def _figures(areas: Sequence[Floats], patients: Sequence[str], resamples: int) -> dict[str, Any]:
    of_probability, of_log_odds = np.array(areas, dtype=np.float64).reshape(len(areas), 2, 4).transpose(1, 0, 2)
    return {
        **faithfulness_figures(of_probability, patients, resamples),
        "log_odds": faithfulness_figures(of_log_odds, patients, resamples),
    }


def faithfulness_figures(areas: Floats, patients: Sequence[str], resamples: int = RESAMPLES) -> dict[str, Any]:
    """What `measure_faithfulness` says, of areas (n, 4): deletion by heatmap and by random masks, then insertion.

    >>> faithfulness_figures(np.array([[0.2, 0.5, 0.8, 0.6]]), ["a"])["both_beat"]["value"]
    1.0
    """
    deletion, random_deletion, insertion, random_insertion = areas.T

    def share(hits: "NDArray[np.bool_]") -> dict[str, float | None]:
        return bootstrap_share(hits, patients, resamples, _SEED, LEVEL).as_json()

    def mean(values: Floats) -> float | None:
        return float(values.mean()) if len(values) else None

    lower, higher = deletion < random_deletion, insertion > random_insertion
    return {
        "n": len(areas),
        "deletion": {"heatmap": mean(deletion), "random": mean(random_deletion)},
        "insertion": {"heatmap": mean(insertion), "random": mean(random_insertion)},
        "deletion_beats": share(lower),
        "insertion_beats": share(higher),
        "both_beat": share(lower & higher),
    }


def headline(figures: dict[str, Any]) -> str:
    """The result in one line."""
    if not figures["n"]:
        return "faithfulness: no film was called PNEUMONIA"
    of_odds, of_probability = figures["log_odds"]["both_beat"]["value"], figures["both_beat"]["value"]
    return (
        f"faithfulness: deletion and insertion beat random masks for {of_odds:.1%} of {figures['n']} films called "
        f"PNEUMONIA, by the log-odds; by the probability for {of_probability:.1%}"
    )


def mean_film(predictor: "Predictor", paths: "Sequence[Path]") -> "Pixels":
    """The mean of films, of up to 200 that are spread evenly over them, at the network's size."""
    spread = np.linspace(0, len(paths) - 1, min(len(paths), _BASELINE_FILMS)).round().astype(int)
    films = map_films(lambda film: predictor.read(paths[film]).pixels, spread.tolist())
    mean: Pixels = np.rint(np.mean(films, axis=0)).astype(np.uint8)
    return mean


def film_areas(predictor: "Predictor", path: "Path", stand_in: "Callable[[Pixels], Pixels]", seed: int) -> Floats:
    """(2, 4) of probability and log-odds: deletion by the heatmap and by random masks, then insertion.

    `stand_in` maps the film (side, side) to what is seen where it is masked.
    """
    pixels = predictor.read(path).pixels
    evidence = pneumonia_evidence(predictor.engine.run(pixels[None]).activation_map[0])
    generator = np.random.default_rng([_SEED, seed])
    others = (generator.standard_normal(evidence.shape, dtype=np.float32) for _ in range(_RANDOM_MASKS))
    maps: list[NDArray[np.float32]] = [evidence, *others]
    baseline = stand_in(pixels)
    images = np.stack([image for one in maps for image in _masked(pixels, one, baseline)])
    logits = run_in_batches(predictor.engine, images).logits
    point = predictor.bundle.operating_point
    of_images = np.stack([of(logits, point.temperature, point.offset) for of in (positive_probability, log_odds)])
    curves = of_images.reshape(2, len(maps), 2, -1)
    areas: Floats = (curves[..., 1:] + curves[..., :-1]).mean(axis=3) / 2
    by_heatmap, by_random = areas[:, 0], areas[:, 1:].mean(axis=1)
    return np.stack([by_heatmap, by_random], axis=2).reshape(2, 4)


def _masked(pixels: "Pixels", heat: "NDArray[np.float32]", baseline: "Pixels") -> "Iterator[Pixels]":
    """The film with more and more of its hottest pixels taken away, then the baseline with more and more of them."""
    side = len(pixels)
    smooth = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    ranks = np.argsort(np.argsort(-np.asarray(smooth).ravel(), kind="stable")).reshape(side, side)
    for first, second in ((pixels, baseline), (baseline, pixels)):
        for step in range(_STEPS + 1):
            yield np.where(ranks < step / _STEPS * side**2, second, first)
