"""What a server says of its bundle besides predictions: `GET /model/info`, `/model/card` and `/model/validation`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumonia import DISCLAIMER
from pneumonia.bundle import CARD, Bundle
from pneumonia.data.card import DATA_CARD
from pneumonia.inference.engines.registry import AUTO, choose_engine
from pneumonia.registry.wandb_artifact import read_sidecar


@dataclass(frozen=True)
class Described:
    """The three answers, JSON-able. `validation` is None where the bundle does not hold the answers of its films."""

    info: dict[str, Any]
    card: dict[str, str | None]
    validation: dict[str, Any] | None


def describe_model(bundle: Bundle, alias: str | None = None, engine: str = AUTO) -> Described:
    """All that is said of a bundle. It is read now: the bundle's folder may be another's, or gone, later."""
    info = {
        **bundle.describe(),
        "alias": alias,
        "engine": choose_engine(bundle, engine).name,
        "synthetic": bundle.synthetic,
        "wandb_artifact": read_sidecar(bundle.directory),
        "disclaimer": DISCLAIMER,
    }
    card = {"model_card": _text(bundle.directory / CARD), "data_card": _text(bundle.directory / DATA_CARD)}
    return Described(info, card, _validation(bundle))


def _validation(bundle: Bundle) -> dict[str, Any] | None:
    """The bundle's answers for its held-out films: neither which films nor which patients."""
    held_out = bundle.held_out()
    if held_out is None:
        return None
    return {
        "labels": held_out.labels.tolist(),
        "probabilities": held_out.probabilities.round(6).tolist(),
        "model": bundle.label,
    }


def _text(path: Path) -> str | None:
    """A card's Markdown; None where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else None
