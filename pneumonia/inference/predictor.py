"""From radiographs to predictions: one path for command line, server, evaluation and page."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pneumonia.bundle import Bundle
from pneumonia.errors import ImageError
from pneumonia.evaluation.operating_point import positive_probability
from pneumonia.images import DEFAULT_LIMITS, Limits, Radiograph, read_radiograph
from pneumonia.inference.engine import Engine, EngineOutput, OnnxRuntimeEngine
from pneumonia.inference.heatmap import render_heatmap
from pneumonia.inference.input_check import check_input
from pneumonia.inference.prediction import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 32


class Predictor:
    """A bundle at work.

    Args:
        bundle: what decides.
        threads: of the engine; 0 takes all cores.
        limits: on files.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, limits: Limits = DEFAULT_LIMITS) -> None:
        self.bundle, self.limits = bundle, limits
        self.engine: Engine = OnnxRuntimeEngine(bundle.graph, threads)

    def read(self, source: bytes | Path | str) -> Radiograph:
        """Decode a file at the size that the graph takes. Raises `ImageError`."""
        return read_radiograph(source, self.bundle.input_size, self.limits)

    def predict(self, radiographs: Sequence[Radiograph], heatmaps: Sequence[bool] | None = None) -> list[Prediction]:
        """One prediction a radiograph, all in one run of the engine; `heatmaps` says which get one."""
        if not radiographs:
            return []
        output = self.engine.run(np.stack([radiograph.pixels for radiograph in radiographs]))
        probabilities = positive_probability(output.logits, self.bundle.operating_point.temperature)
        wanted = heatmaps or [False] * len(radiographs)
        return [
            self._prediction(radiograph, output, index, float(probabilities[index]), wanted[index])
            for index, radiograph in enumerate(radiographs)
        ]

    def _prediction(
        self, radiograph: Radiograph, output: EngineOutput, index: int, probability: float, heatmap: bool
    ) -> Prediction:
        threshold = self.bundle.operating_point.threshold
        # Of several kinds of pneumonia the likeliest is named.
        class_index = 1 + int(output.logits[index, 1:].argmax()) if probability >= threshold else 0
        checked = check_input(radiograph)
        return Prediction(
            prediction=self.bundle.classes[class_index],
            class_index=class_index,
            probability=probability,
            threshold=threshold,
            abstained=not checked.passed,
            input_check=checked,
            model=self.bundle.label,
            heatmap=render_heatmap(output.activation_map[index], radiograph.width, radiograph.height)
            if heatmap
            else None,
        )

    def predict_files(self, paths: Sequence[Path], heatmaps: bool = False) -> Iterator[Prediction | ImageError]:
        """Predictions in the order of the paths, an `ImageError` where a file can't be decoded."""
        for start in range(0, len(paths), _BATCH):
            decoded = read_many(self, paths[start : start + _BATCH])
            radiographs = [item for item in decoded if isinstance(item, Radiograph)]
            predictions = iter(self.predict(radiographs, [heatmaps] * len(radiographs)))
            for item in decoded:
                yield item if isinstance(item, ImageError) else next(predictions)

    def logits(self, images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """(N, K) of images (N, S, S) uint8 that are decoded already, such as a cache's."""
        parts = [self.engine.run(images[start : start + _BATCH]).logits for start in range(0, len(images), _BATCH)]
        return np.concatenate(parts)


def read_many(predictor: Predictor, paths: Sequence[Path]) -> list[Radiograph | ImageError]:
    """Decode files in parallel; an error takes the place of what can't be decoded."""

    def read(path: Path) -> Radiograph | ImageError:
        try:
            return predictor.read(path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths))
