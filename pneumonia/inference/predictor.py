"""From radiographs to predictions: one path for command line, server, evaluation and page."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pneumonia.bundle import Bundle
from pneumonia.errors import ImageError
from pneumonia.evaluation.operating_point import Decision, decide
from pneumonia.images import DEFAULT_LIMITS, Limits, Radiograph, read_radiograph
from pneumonia.inference.engines.registry import AUTO, open_engine
from pneumonia.inference.heatmap import render_heatmap
from pneumonia.inference.input_check import InputCheck, check_inputs
from pneumonia.inference.prediction import Prediction
from pneumonia.inference.typicality import load_typicality
from pneumonia.parallel import map_films

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 32


class Predictor:
    """A bundle at work.

    Args:
        bundle: what decides.
        threads: of the engine; 0 takes all cores.
        limits: on files.
        engine: its name (`pneumonia.inference.engines.registry`).

    Raises what `open_engine` raises.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, limits: Limits = DEFAULT_LIMITS, engine: str = AUTO) -> None:
        self.bundle, self.limits = bundle, limits
        self.engine = open_engine(bundle, engine, threads)
        self.typicality = load_typicality(bundle.typicality)

    def read(self, source: bytes | Path | str) -> Radiograph:
        """Decode a file at the size that the graph takes. Raises `ImageError`."""
        return read_radiograph(source, self.bundle.input_size, self.limits)

    def predict(self, radiographs: Sequence[Radiograph], heatmaps: Sequence[bool] | None = None) -> list[Prediction]:
        """One prediction a radiograph, all in one run of the engine; `heatmaps` says which get one."""
        if not radiographs:
            return []
        output = self.engine.run(np.stack([radiograph.pixels for radiograph in radiographs]))
        decisions = decide(output.logits, self.bundle.operating_point)
        checks = check_inputs(radiographs, output.embedding, self.typicality)
        wanted = heatmaps or [False] * len(radiographs)
        return [
            self._prediction(decision, check, _heatmap(radiograph, activation_map) if heatmap else None)
            for radiograph, decision, check, activation_map, heatmap in zip(
                radiographs, decisions, checks, output.activation_map, wanted, strict=True
            )
        ]

    def _prediction(self, decision: Decision, check: InputCheck, heatmap: bytes | None) -> Prediction:
        classes, point = self.bundle.classes, self.bundle.operating_point
        return Prediction(
            prediction=classes[decision.class_index],
            class_index=decision.class_index,
            probability=decision.probability,
            threshold=point.threshold,
            probabilities=dict(zip(classes, decision.probabilities, strict=True)),
            prediction_set=[classes[index] for index in decision.prediction_set],
            coverage=point.coverage,
            abstained=not (check.passed and decision.decided),
            input_check=check,
            model=self.bundle.label,
            heatmap=heatmap,
        )

    def predict_files(self, paths: Sequence[Path], heatmaps: bool = False) -> Iterator[Prediction | ImageError]:
        """Predictions in the order of the paths, an `ImageError` where a file can't be decoded."""
        for start in range(0, len(paths), _BATCH):
            decoded = read_many(self, paths[start : start + _BATCH])
            radiographs = [item for item in decoded if isinstance(item, Radiograph)]
            predictions = iter(self.predict(radiographs, [heatmaps] * len(radiographs)))
            for item in decoded:
                yield item if isinstance(item, ImageError) else next(predictions)


def _heatmap(radiograph: Radiograph, activation_map: "NDArray[np.float32]") -> bytes:
    return render_heatmap(activation_map, radiograph.width, radiograph.height)


def read_many(
    predictor: Predictor, paths: Sequence[Path], description: str | None = None
) -> list[Radiograph | ImageError]:
    """Decode files in parallel; an error takes the place of what can't be decoded. A `description` shows a bar."""

    def read(path: Path) -> Radiograph | ImageError:
        try:
            return predictor.read(path)
        except ImageError as error:
            return error

    return map_films(read, paths, description)
