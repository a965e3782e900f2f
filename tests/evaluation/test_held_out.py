"""Answers for held-out films: kept without a name, read back as they were, and brought together film by film."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pneumonia.bundle import REFERENCE, VALIDATION, load_bundle
from pneumonia.data.manifest import scan_tree
from pneumonia.data.splits import recorded_splits
from pneumonia.errors import BundleError, DataError
from pneumonia.evaluation.held_out import HeldOut, collect_held_out, in_common, load_held_out
from pneumonia.evaluation.metrics import compute_metrics

NAMES = ("person1_virus", "person2_bacteria", "IM-0001", "person1_virus")


def digest(film: int) -> str:
    return hashlib.sha256(str(film).encode()).hexdigest()


def answers(*films: int, labels: dict[int, int] | None = None) -> HeldOut:
    truth = [(labels or {}).get(film, film % 2) for film in films]
    return collect_held_out(
        truth, [film / 100 for film in films], [str(film // 2) for film in films], [*map(digest, films)]
    )


def test_what_is_read_is_what_was_saved(tmp_path: Path) -> None:
    saved = answers(*range(50))
    for name in ("one", "two"):
        saved.save(tmp_path / name)
    read = load_held_out(tmp_path / "one")
    for column in ("labels", "probabilities", "patients", "films"):
        assert np.array_equal(getattr(read, column), getattr(saved, column))
    assert len(read) == 50
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_neither_a_name_nor_the_order_of_names_is_in_it(tmp_path: Path) -> None:
    digests = [digest(film) for film in range(4)]
    held_out = collect_held_out([1, 1, 0, 1], [0.9, 0.8, 0.1, 0.7], NAMES, digests)
    shuffled = collect_held_out([1, 0, 1, 1], [0.7, 0.1, 0.8, 0.9], NAMES[::-1], digests[::-1])
    assert np.array_equal(held_out.films, shuffled.films)
    assert np.array_equal(held_out.patients, shuffled.patients)
    of_one = [held_out.films.tolist().index(digests[film][:16].encode()) for film in (0, 3)]
    assert len(set(held_out.patients[of_one])) == 1
    assert len(set(held_out.patients)) == 3
    held_out.save(tmp_path / VALIDATION)
    with np.load(tmp_path / VALIDATION, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["films", "labels", "patients", "probabilities"]
        assert {array.dtype.kind for array in arrays.values()} == {"S", "u", "f"}


def test_films_in_common_are_brought_together_whatever_their_order() -> None:
    first, second = in_common(answers(5, 1, 2, 3, 3), answers(9, 3, 5, 8, 2))
    assert first.films.tolist() == second.films.tolist()
    assert sorted(first.probabilities) == [0.02, 0.03, 0.05]
    assert np.array_equal(first.probabilities, second.probabilities)
    assert len(in_common(answers(1), answers(2))[0]) == 0


def test_films_that_are_labelled_otherwise_are_said() -> None:
    with pytest.raises(DataError, match="1 of 3 films are labelled otherwise"):
        in_common(answers(1, 2, 3), answers(1, 2, 3, labels={2: 1}))


@pytest.mark.parametrize(
    "columns",
    [
        {"labels": np.array([0, 2])},
        {"labels": np.array([0])},
        {"probabilities": np.array([0.5, np.nan])},
        {"patients": np.array([0])},
        {"films": np.array([b"b" * 16, b"a" * 16])},
        {"films": np.array([b"b", b"c"])},
        {"films": None},
        {"films": np.array(["a", None], dtype=object)},
    ],
)
def test_another_file_is_refused(tmp_path: Path, columns: dict[str, np.ndarray | None]) -> None:
    whole = {
        "labels": np.array([0, 1]),
        "probabilities": np.array([0.5, 0.5]),
        "patients": np.array([0, 0]),
        "films": np.array([b"a" * 16, b"b" * 16]),
    }
    np.savez(
        tmp_path / "answers.npz", **{name: array for name, array in {**whole, **columns}.items() if array is not None}
    )
    with pytest.raises(BundleError, match="holds no answers"):
        load_held_out(tmp_path / "answers.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "answers.npz").write_bytes(content)
    with pytest.raises(BundleError, match="holds no answers"):
        load_held_out(tmp_path / "answers.npz")


def test_the_reference_carries_the_answers_that_its_figures_are_of() -> None:
    bundle = load_bundle(REFERENCE)
    held_out = bundle.held_out()
    assert held_out is not None
    recorded = bundle.metrics["validation"]
    assert len(held_out) == recorded["n"]
    figures = compute_metrics(held_out.labels, held_out.probabilities, bundle.operating_point.threshold)
    assert figures == pytest.approx({name: recorded[name]["value"] for name in figures})


def test_export_keeps_the_answers_for_the_patients_that_it_held_out(bundle_dir: Path, tree: Path) -> None:
    bundle, manifest = load_bundle(bundle_dir), scan_tree(tree)
    held_out = bundle.held_out()
    assert held_out is not None
    rows = manifest.select(recorded_splits(manifest, bundle.provenance["data"]).validation).rows
    assert sorted(held_out.films.tolist()) == sorted(row.sha256[:16].encode() for row in rows)
    assert len(set(held_out.patients)) == len({row.patient for row in rows})
    assert held_out.labels.sum() == sum(row.label == "PNEUMONIA" for row in rows)
