"""What `benchmarks.left_out` says of a run is of the films that the run did not see."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.left_out import FIFTHS, judge, pattern_of, table
from pneumonia.data.manifest import Manifest, Row, scan_tree
from pneumonia.data.splits import assign_splits
from pneumonia.training.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> argparse.Namespace:
    work = tmp_path_factory.mktemp("work")
    return argparse.Namespace(data=tree, work=work, threads=1, views=1, rules=["youden", "sensitivity>=0.5"])


@pytest.fixture(scope="module")
def judged(
    settings: argparse.Namespace, training_words: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("left-out")
    main(training_words("fit", folder, "--data.leave_out=NORMAL2-IM-", "--data.validation_fraction=0.3"))
    return judge(folder, settings)


def test_a_series_is_judged_apart_from_the_drawn_patients(judged: dict[str, object], tree: Path) -> None:
    manifest = scan_tree(tree)
    drawn = [manifest.rows[index].patient for index in assign_splits(manifest, 0.3).validation]
    of_series = [row for row in manifest.rows if row.split != "test" and row.patient.startswith("NORMAL2-IM-")]
    assert judged["n"] == {
        "drawn": sum(not patient.startswith("NORMAL2-IM-") for patient in drawn),
        "left_out": len(of_series),
    }
    for name in ("drawn", "auroc", "ece"):
        assert 0 <= judged[name] <= 1  # type: ignore[operator]
    assert set(judged["rules"]) == {"youden", "sensitivity>=0.5"}  # type: ignore[call-overload]


def test_the_table_has_a_row_for_each_series(judged: dict[str, object]) -> None:
    results = {"a": {"what": "as it is", "series": {"NORMAL2": judged, "IM": json.loads(json.dumps(judged))}}}
    lines = table(results).splitlines()
    assert [line.split(" | ")[2] for line in lines[2:]] == ["NORMAL2", "IM"]
    assert len({line.count("|") for line in lines}) == 1


def test_fifths_share_out_both_series_in_the_order_of_their_numbers() -> None:
    names = [f"IM-{number:04}" for number in range(95, 120)] + [
        f"NORMAL2-IM-{number:04}" for number in range(990, 1015)
    ]
    rows = [Row(f"train/NORMAL/{name}-0001.jpeg", "train", "NORMAL", name, "", 8, 8, "") for name in reversed(names)]
    manifest = Manifest(Path(), tuple(rows), synthetic=False)
    parts = [[name for name in names if re.match(pattern_of(fifth, manifest), name)] for fifth in FIFTHS]
    assert parts == [names[5 * place : 5 * place + 5] + names[25 + 5 * place : 30 + 5 * place] for place in range(5)]
