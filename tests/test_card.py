"""Tests of the model card."""

from dataclasses import replace
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


def test_card_shows_parts_sets_views_and_heatmaps_of_each_split_that_has_them(tmp_path: Path) -> None:
    share = {"value": 0.9, "low": 0.8, "high": 1.0}
    figures = dict.fromkeys(("auroc", "accuracy", "sensitivity", "specificity", "ece"), share)
    measured = {
        "n": 307,
        "data_digest": "e" * 64,
        **figures,
        "subgroups": {"virus": {"description": "PNEUMONIA of virus", "n": 65, **figures}},
        "prediction_sets": {"covered": {"NORMAL": share, "PNEUMONIA": share}, "decided": share},
        "input_check": {"refused": share},
        "robustness": {"middle_grade": 3, "plain": figures, "middle": {"blur": figures}},
        "faithfulness": {"n": 190, "both_beat": share, "baseline": 0.25},
        "classes": {
            "names": ["NORMAL", "VIRUS"],
            "confusion_matrix": [[11, 2], [3, 44]],
            "recall": {"NORMAL": share, "VIRUS": share},
            "accuracy": share,
        },
    }
    bundle = replace(make_bundle(tmp_path), metrics={"test": measured})
    card = render_card(bundle)
    cell = "0.900 (0.800-1.000)"
    assert f"| PNEUMONIA of virus | 65 | {cell} |" in card
    assert f"- The set holds the film's class, NORMAL: {cell}." in card
    assert f"| blur | {cell} |" in card
    assert f"random masks do, for {cell} of 190 films" in card
    assert "the mean NORMAL film (probability 0.250)" in card
    assert f"| VIRUS | 3 | 44 | {cell} |" in card
    assert "- test: 307 films, the official test folder, which chose nothing; manifest `eeeeeeeeeeeeeeee`." in card


def test_card_does_not_show_heatmaps_that_were_measured_by_blurring(tmp_path: Path) -> None:
    measured = {"n": 7, "data_digest": "e" * 64, "faithfulness": {"n": 5, "both_beat": {"value": 0.9}}}
    assert "random masks" not in render_card(replace(make_bundle(tmp_path), metrics={"test": measured}))


def test_card_of_a_bundle_that_was_not_measured_says_so(tmp_path: Path) -> None:
    assert "Not measured yet." in render_card(replace(make_bundle(tmp_path), metrics={}))
