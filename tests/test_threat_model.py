"""The threat model names a test for each of its claims: they are there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = [
    cells
    for line in (TESTS.parent / "docs" / "threat-model.md").read_text().splitlines()
    if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
][2:]


def shown_by(cell: str) -> list[tuple[str, str]]:
    """(file, part of a name) of each test; a file that is left out is that of the one before."""
    found: list[tuple[str, str]] = []
    for name in re.findall(r"`([^`]+)`", cell):
        file, _, part = name.partition("::")
        found.append((file or found[-1][0], part))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_claim_is_shown_by_a_test_that_exists(row: list[str]) -> None:
    shown = shown_by(row[2]) if row[2] else []
    assert shown or not row[1]
    for file, part in shown:
        names = re.findall(r"^(?:    )?(?:def (test_\w+)|class (Test\w+))", (TESTS / file).read_text(), re.MULTILINE)
        assert any(part in name for pair in names for name in pair if name), f"{file}::{part}"


def test_it_goes_through_all_kinds_of_threat() -> None:
    text = " ".join(row[0] for row in ROWS)
    kinds = ("Spoofing", "Tampering", "Repudiation", "Information disclosure", "Denial of service", "Elevation")
    assert all(kind in text for kind in kinds)
