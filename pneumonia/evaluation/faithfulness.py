"""Whether the heatmap shows what the decision rests on: deletion and insertion against random masks.

Petsiuk, Das and Saenko (2018), "RISE": blur the film away pixel by pixel, the hottest first, and the probability should
fall fast (a small area under its curve); bring it back from the blur in the same order, and it should rise fast.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter

from pneumonia.bundle import Bundle
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import LEVEL, RESAMPLES, bootstrap_share
from pneumonia.evaluation.operating_point import positive_probability
from pneumonia.evaluation.weighted import Floats
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.heatmap import pneumonia_evidence

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pneumonia.inference.predictor import Predictor

    Pixels = NDArray[np.uint8]

_STEPS = 16
_RANDOM_MASKS = 8
# Of the side: enough that an opacity is gone, little enough that no edge appears where a mask ends.
_BLUR = 0.08
_SEED = 0


def measure_faithfulness(
    bundle: Bundle, root: "Path", inputs: EvaluationInput, resamples: int = RESAMPLES, progress: bool = False
) -> dict[str, Any]:
    """Deletion and insertion of every film that was called PNEUMONIA; `root` is the tree of `inputs.paths`.

    `n` films; `deletion` and `insertion` have the mean area under the curve of the `heatmap` and of `random` masks,
    each in [0, 1]; `deletion_beats`, `insertion_beats` and `both_beat` are the shares of films for which the heatmap
    beats the mean of 8 random masks of the map's own coarseness, as `{"value", "low", "high"}`.
    """
    from tqdm import tqdm

    from pneumonia.inference.predictor import Predictor

    predictor = Predictor(bundle, threads=1, engine=inputs.engine)
    called = np.flatnonzero(inputs.predictions == 1).tolist()
    with ThreadPoolExecutor() as pool:
        measured = pool.map(lambda film: _areas(predictor, root / inputs.paths[film], film), called)
        areas = list(tqdm(measured, total=len(called), desc="faithfulness", unit="film", disable=not progress))
    return faithfulness_figures(
        np.array(areas, dtype=np.float64).reshape(len(called), 4), [inputs.patients[film] for film in called], resamples
    )


def faithfulness_figures(areas: Floats, patients: Sequence[str], resamples: int = RESAMPLES) -> dict[str, Any]:
    """What `measure_faithfulness` returns, of areas (n, 4): deletion and insertion, of the heatmap and of random masks.

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
    both = figures["both_beat"]["value"]
    return "faithfulness: " + (
        "no film was called PNEUMONIA"
        if both is None
        else f"deletion and insertion beat random masks for {both:.1%} of {figures['n']} films called PNEUMONIA"
    )


def _areas(predictor: "Predictor", path: "Path", seed: int) -> tuple[float, float, float, float]:
    """Deletion and insertion of the heatmap and of random masks: small areas, then large ones, are good."""
    pixels = predictor.read(path).pixels
    evidence = pneumonia_evidence(predictor.engine.run(pixels[None]).activation_map[0])
    generator = np.random.default_rng([_SEED, seed])
    others = (generator.standard_normal(evidence.shape, dtype=np.float32) for _ in range(_RANDOM_MASKS))
    maps: list[NDArray[np.float32]] = [evidence, *others]
    images = np.stack([image for one in maps for image in _masked(pixels, one)])
    logits = run_in_batches(predictor.engine, images).logits
    curves = positive_probability(logits, predictor.bundle.operating_point.temperature).reshape(len(maps), 2, -1)
    areas: Floats = (curves[:, :, 1:] + curves[:, :, :-1]).mean(axis=2) / 2
    (deletion, insertion), (random_deletion, random_insertion) = areas[0], areas[1:].mean(axis=0)
    return float(deletion), float(random_deletion), float(insertion), float(random_insertion)


def _masked(pixels: "Pixels", heat: "NDArray[np.float32]") -> "Iterator[Pixels]":
    """The film with more and more of its hottest pixels blurred, then the blur with more and more of them sharp."""
    side = len(pixels)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(_BLUR * side)))
    smooth = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    ranks = np.argsort(np.argsort(-np.asarray(smooth).ravel(), kind="stable")).reshape(side, side)
    for first, second in ((pixels, blurred), (blurred, pixels)):
        for step in range(_STEPS + 1):
            yield np.where(ranks < step / _STEPS * side**2, second, first)
