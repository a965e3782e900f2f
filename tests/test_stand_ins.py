"""What `benchmarks.stand_ins` tries and counts, on a real bundle and tree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stand_ins import measure, stand_ins, table
from pneumonia.bundle import load_bundle
from pneumonia.data.manifest import scan_tree
from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.command import predict_split


def test_each_stand_in_is_a_film_of_the_same_size_and_the_first_is_the_mean() -> None:
    mean = np.full((16, 16), 90, np.uint8)
    film = np.arange(256, dtype=np.uint8).reshape(16, 16)
    made = {name: of(film) for name, of in stand_ins(mean).items()}
    assert all(one.shape == film.shape and one.dtype == np.uint8 for one in made.values())
    assert next(iter(made.values())) is mean
    assert len({one.tobytes() for one in made.values()}) == len(made)


@pytest.mark.slow
def test_every_candidate_is_measured_on_held_out_films_that_are_called_pneumonia(bundle_dir: Path, tree: Path) -> None:
    report = measure(bundle_dir, tree)
    assert list(report["stand_ins"]) == list(stand_ins(np.zeros((2, 2), np.uint8)))
    assert all(0 <= row["log_odds"] <= 1 and 0 <= row["probability"] <= 1 for row in report["stand_ins"].values())
    assert f"`{load_bundle(bundle_dir).label}`, {report['n']} films of held-out patients" in table(report)
    assert len({row["masked"] for row in report["stand_ins"].values()}) > 3
    assert f"| black | {report['stand_ins']['black']['masked']:+.1f} |" in table(report)


def test_without_a_film_nothing_is_measured(bundle_dir: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none_is_called = replace(predict_split(load_bundle(bundle_dir), scan_tree(tree), "validation"), threshold=1.1)
    monkeypatch.setattr("benchmarks.stand_ins.predict_split", lambda *_, **__: none_is_called)
    with pytest.raises(DataError, match="No held-out film is called"):
        measure(bundle_dir, tree)
    with pytest.raises(ConfigError, match="give 1 or more"):
        measure(bundle_dir, tree, every=0)
