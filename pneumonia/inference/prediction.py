"""The one type for an answer, on the command line, over HTTP and in reports."""

from dataclasses import asdict, dataclass
from typing import Any

from pneumonia.errors import ApiError, ImageError
from pneumonia.inference.input_check import InputCheck


@dataclass(frozen=True)
class Prediction:
    """What the model says of one radiograph.

    `prediction` is the class and `class_index` its place among the bundle's; `probability` is of pneumonia,
    calibrated, in [0, 1]; at `threshold` or above it is called pneumonia. `probabilities` are of each class, in the
    bundle's order. `prediction_set` names the classes that the film may be, so that it holds the right one as often as
    `coverage` says. `abstained` is true when the answer should not be used: the input check failed, or the set does
    not decide between normal and pneumonia, or decides otherwise than the threshold. `model` is `name:version`;
    `heatmap`, on demand, PNG bytes.
    """

    prediction: str
    class_index: int
    probability: float
    threshold: float
    probabilities: dict[str, float]
    prediction_set: list[str]
    coverage: float
    abstained: bool
    input_check: InputCheck
    model: str
    heatmap: bytes | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the heatmap."""
        content = asdict(self)
        del content["heatmap"]
        return content


# What one film among many comes to.
Answer = Prediction | ImageError | ApiError
