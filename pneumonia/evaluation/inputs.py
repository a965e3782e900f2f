"""What an evaluation is about: the films, what they are, what was predicted for them, and by what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumonia.errors import DataError
from pneumonia.evaluation.answers import Answers
from pneumonia.evaluation.weighted import checked


@dataclass(frozen=True, eq=False)
class EvaluationInput:
    """n films of one split and the predictions of one model for them.

    `paths` are relative to the data tree; `labels` (n,) 0 NORMAL or 1 PNEUMONIA; `probabilities` (n,) the calibrated
    probability of PNEUMONIA; `patients` one name a film; `pathogens` bacteria, virus or empty; `shared` (n,) whether
    the film's patient occurs in train as well. `temperature`, `offset` and `threshold` are the operating point's,
    `data_digest` the manifest's, `model` has `name` and `version`, and `engine` where it is known. `sizes` are (width,
    height) in pixels; `answers` what was answered beside the probability; `digests` the SHA-256 of each file.

    Raises `DataError` when there is no film, or one of them lacks one of these.
    """

    paths: Sequence[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    patients: Sequence[str]
    pathogens: Sequence[str]
    shared: NDArray[np.bool_]
    threshold: float
    temperature: float
    split: str
    data_digest: str
    synthetic: bool
    model: Mapping[str, str]
    sizes: Sequence[tuple[int, int]] | None = None
    answers: Answers | None = None
    digests: Sequence[str] | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        labels, _ = checked(self.labels, self.probabilities)
        if not len(labels):
            raise DataError(f"The split {self.split!r} has no films to evaluate; choose another, or check the data.")
        for name in ("paths", "patients", "pathogens", "shared", "sizes", "digests"):
            column = getattr(self, name)
            if column is not None and len(column) != len(labels):
                raise DataError(f"{len(column)} {name} for {len(labels)} films; give one for every film.")

    @property
    def engine(self) -> str:
        """What ran the model, by its name; `auto` where that was not said."""
        return self.model.get("engine", "auto")

    @property
    def predictions(self) -> NDArray[np.int64]:
        """What each film is called, (n,): 1 where its probability is at least the threshold."""
        return (np.asarray(self.probabilities, dtype=np.float64) >= self.threshold).astype(np.int64)
