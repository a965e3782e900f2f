"""Tests of the model card."""

from pathlib import Path

import pytest

from pneumonia import DISCLAIMER
from pneumonia.bundle import Bundle
from pneumonia.card import render_card, write_card
from pneumonia.evaluation.operating_point import OperatingPoint

HEADINGS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)


def make_bundle(directory: Path, synthetic: bool = False) -> Bundle:
    return Bundle(
        directory=directory,
        name="cnn",
        version="0123456789ab",
        created="2026-01-01T00:00:00+00:00",
        classes=("NORMAL", "PNEUMONIA"),
        input_size=128,
        parameters=700402,
        operating_point=OperatingPoint(1.5, 0.25, "youden", 0.95, (0.2, 0.3)),
        metrics={"test": {"n": 307, "auroc": {"value": 0.984, "low": 0.97, "high": None}, "ppv": {"value": None}}},
        provenance={"synthetic": synthetic, "data": {"digest": "d" * 64, "class_counts": [1, 3]}},
    )


@pytest.mark.parametrize("heading", HEADINGS)
def test_card_has_the_headings_of_mitchell_et_al(tmp_path: Path, heading: str) -> None:
    assert f"## {heading}\n" in render_card(make_bundle(tmp_path))


def test_card_states_what_was_measured_and_nothing_for_what_was_not(tmp_path: Path) -> None:
    card = render_card(make_bundle(tmp_path))
    assert "| AUROC | 0.984 |" in card
    assert "| PPV | - |" in card
    assert "test (n = 307)" in card
    assert "T = 1.500" in card
    assert DISCLAIMER in card


def test_card_of_a_bundle_trained_on_phantoms_says_so(tmp_path: Path) -> None:
    assert "Synthetic phantoms" in render_card(make_bundle(tmp_path, synthetic=True))
    assert "Synthetic phantoms" not in render_card(make_bundle(tmp_path))


def test_card_is_written_into_the_bundle(tmp_path: Path) -> None:
    write_card(make_bundle(tmp_path))
    assert (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8").startswith("# Model card: cnn")
