"""The data card."""

from pathlib import Path

import pytest

from pneumonia import DISCLAIMER
from pneumonia.cli import main
from pneumonia.data.card import render_data_card
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import assign_splits

HEADINGS = (
    "Motivation",
    "Composition",
    "Collection process",
    "Preprocessing, cleaning and labelling",
    "Uses",
    "Distribution",
    "Maintenance",
)


@pytest.fixture(scope="module")
def card(tree: Path) -> str:
    manifest = scan_tree(tree)
    return render_data_card(manifest, assign_splits(manifest))


def test_it_has_the_headings_of_gebru_et_al(card: str) -> None:
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(HEADINGS)
    assert DISCLAIMER in card


def test_it_counts_the_tree_and_the_parts_that_are_used(card: str, tree: Path) -> None:
    manifest = scan_tree(tree)
    splits = assign_splits(manifest)
    assert f"{len(manifest.rows)} files" in card
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in card.splitlines() if line.startswith("| ")}
    assert int(rows["validation"][0]) == len(splits.validation)
    assert int(rows["train"][0]) == len(splits.train)
    assert "Files that are identical to another:\n1." in card


def test_patient_numbers_of_the_test_folder_that_occur_elsewhere_are_counted(card: str, tree: Path) -> None:
    rows = scan_tree(tree).rows
    tested, others = ({row.patient for row in rows if (row.split == "test") is test} for test in (True, False))
    assert tested & others
    assert f"\n{len(tested & others)} patient numbers occur" in card


def test_a_tree_of_phantoms_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["phantom", "--output", str(tmp_path / "tree"), "--train", "40", "--val", "4", "--test", "4"],):
        with pytest.raises(SystemExit):
            main(["data", *words, "--size", "64"])
    with pytest.raises(SystemExit):
        main(["data", "card", "--data", str(tmp_path / "tree")])
    said = capsys.readouterr().out
    assert "# Data card: synthetic phantoms" in said
    assert "Mendeley" not in said
