"""The checklist from experiment to production: each row has its files and tests, and they are there."""

import re
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
MISSING = "not built yet"
ROWS = [
    cells
    for line in (PROJECT / "docs" / "checklist.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
][2:]
NAMES = """DVC with GCS, configs, profiling, logging, W&B, sweep, Lightning, data tests, model tests, coverage, CI,
caching and matrix, linting, pre-commit, data workflow, registry workflow, image trigger, training in GCP,
API, Cloud Run, API tests, load tests, ONNX deployment, frontend, drift, drift API, metrics, cloud
monitoring, alerts, distributed data loading, distributed training, quantisation, compilation, pruning,
documentation, GitHub Pages, architecture diagram"""


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_it_goes_through_all_that_is_asked_for() -> None:
    assert [row[0].lower() for row in ROWS] == [name.strip().lower() for name in NAMES.replace("\n", " ").split(",")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_built_has_files_a_test_and_a_document(row: list[str]) -> None:
    if row[1] == MISSING:
        assert row[2:] == ["", ""]
    else:
        assert code(row[1])
        assert code(row[2])
        assert row[3]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_file_is_there(row: list[str]) -> None:
    for name in code(row[1]):
        assert (PROJECT / name).exists(), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_test_is_there(row: list[str]) -> None:
    file = ""
    for shown in code(row[2]):
        named, _, part = shown.partition("::")
        file = named or file
        source = (TESTS / file).read_text(encoding="utf-8")
        names = re.findall(r"^ *(?:async )?(?:def (test_\w+)|class (Test\w+))", source, re.MULTILINE)
        assert names, file
        assert any(part in name for pair in names for name in pair if name), shown


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_document_is_there_and_has_the_heading(row: list[str]) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", row[3]):
        name, _, anchor = target.partition("#")
        text = (PROJECT / "docs" / name).read_text(encoding="utf-8")
        headings = [
            re.sub(r"[^\w -]", "", line).strip().lower() for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        ]
        assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], target


def test_coverage_is_measured_where_ci_runs_all_tests_and_has_a_floor() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert settings["report"]["fail_under"] >= 90
    assert settings["run"]["source"] == ["pneumonia"]
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^COVERAGE := \$\(if \$\(filter true,\$\(CI\)\),--cov ", makefile, re.MULTILINE)
    assert re.search(r"^test:.*\n\t.*pytest .*\$\(COVERAGE\)$", makefile, re.MULTILINE)
    assert "pytest " in (workflow := (PROJECT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert "--cov " in workflow
