"""How far the answers of one engine lie from another's, film by film."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pneumonia.evaluation.metrics import accuracy, auroc
from pneumonia.evaluation.operating_point import OperatingPoint, decide

if TYPE_CHECKING:
    from pneumonia.inference.engine import EngineOutput


@dataclass(frozen=True)
class Agreement:
    """What changed for n films.

    `auroc` and `accuracy` are the engine's own; `auroc_drop` is by how much the AUROC fell (below 0 where it rose).
    `largest_probability_change` and `mean_probability_change` are of the calibrated probability of pneumonia.
    `decisions_changed`, `sets_changed` and `refusals_changed` count films whose decision, prediction set or input check
    became another. `largest_map_change` is relative to the largest evidence in any of the maps.
    """

    n: int
    auroc: float
    accuracy: float
    auroc_drop: float
    largest_probability_change: float
    mean_probability_change: float
    decisions_changed: int
    sets_changed: int
    refusals_changed: int
    largest_map_change: float


@dataclass(frozen=True)
class AgreementLimits:
    """How much may change: how far the AUROC may fall, the share of films in each of the counts, and a probability."""

    auroc_drop: float = 0.002
    share_changed: float = 0.01
    probability_change: float = 0.1

    def exceeded(self, agreement: Agreement) -> list[str]:
        """In words, what went past a limit; nothing where the answers are near enough.

        >>> AgreementLimits().exceeded(Agreement(500, 0.99, 0.9, 0.001, 0.02, 0.01, 6, 0, 0, 0.1))
        ['6 of 500 films are decided otherwise (at most 1%)']
        """
        of_films = {
            "are decided otherwise": agreement.decisions_changed,
            "get another prediction set": agreement.sets_changed,
            "pass the input check where they did not, or the other way round": agreement.refusals_changed,
        }
        found = [
            f"{count} of {agreement.n} films {what} (at most {100 * self.share_changed:g}%)"
            for what, count in of_films.items()
            if count > self.share_changed * agreement.n
        ]
        if not agreement.auroc_drop <= self.auroc_drop:
            found.append(f"the AUROC falls by {agreement.auroc_drop:.4f} (at most {self.auroc_drop:g})")
        if not agreement.largest_probability_change <= self.probability_change:
            largest = agreement.largest_probability_change
            found.append(f"a probability changes by {largest:.3f} (at most {self.probability_change:g})")
        return found


def compare_outputs(
    outputs: "EngineOutput",
    others: "EngineOutput",
    labels: ArrayLike,
    point: OperatingPoint,
    refused: tuple[ArrayLike, ArrayLike],
) -> Agreement:
    """Of `others` with `outputs`, which are the ones to be like; labels (n,) are 1 for pneumonia.

    `refused` are two (n,) of truth values: which films the input check turns away, given the one and the other's
    embedding. Raises what `decide` raises.
    """
    before, after = (decide(output.logits, point) for output in (outputs, others))
    probabilities, changed = (np.array([decision.probability for decision in made]) for made in (before, after))
    difference = np.abs(probabilities - changed)
    of_map = max(float(np.abs(outputs.activation_map).max()), 1e-6)
    return Agreement(
        n=len(before),
        auroc=auroc(labels, changed),
        accuracy=accuracy(labels, changed, point.threshold),
        auroc_drop=auroc(labels, probabilities) - auroc(labels, changed),
        largest_probability_change=float(difference.max()),
        mean_probability_change=float(difference.mean()),
        decisions_changed=sum(one.class_index != other.class_index for one, other in zip(before, after, strict=True)),
        sets_changed=sum(one.prediction_set != other.prediction_set for one, other in zip(before, after, strict=True)),
        refusals_changed=int((np.asarray(refused[0], bool) != np.asarray(refused[1], bool)).sum()),
        largest_map_change=float(np.abs(others.activation_map - outputs.activation_map).max()) / of_map,
    )
