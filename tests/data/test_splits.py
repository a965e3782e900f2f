"""Splits hold patients out: nothing of a film that validates or tests is ever trained on."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from pneumonia.data.manifest import Manifest, Row, scan_tree
from pneumonia.data.splits import Splits, assign_splits, recorded_splits
from pneumonia.errors import DataError

FRACTIONS = st.floats(0.1, 0.6)
SEEDS = st.integers(0, 2**32)


def row(split: str, label: str, patient: str, film: int, sha256: str = "", pathogen: str = "") -> Row:
    path = f"{split}/{label}/{patient}-{film}.jpeg"
    return Row(path, split, label, patient, pathogen, 100, 100, sha256 or path)


def manifest_of(rows: list[Row]) -> Manifest:
    return Manifest(Path("tree"), tuple(sorted({row.path: row for row in rows}.values(), key=lambda row: row.path)))


# Few patients and few contents, so that films of a patient, identical films and chains of both are common.
ROWS = st.builds(
    row,
    split=st.sampled_from(["train", "train", "train", "val", "test"]),
    label=st.sampled_from(["NORMAL", "PNEUMONIA"]),
    patient=st.integers(0, 25).map("p{}".format),
    film=st.integers(0, 5),
    sha256=st.one_of(st.just(""), st.integers(0, 20).map("content {}".format)),
    pathogen=st.sampled_from(["", "bacteria", "virus"]),
)
# Enough that both labels are in every part whatever else is drawn.
ALWAYS = [row("train", label, f"{label}{patient}", 0) for label in ("NORMAL", "PNEUMONIA") for patient in range(12)]
MANIFESTS = st.lists(ROWS, max_size=80).map(lambda rows: manifest_of([*rows, *ALWAYS]))


def assign(manifest: Manifest, fraction: float, seed: int) -> Splits:
    try:
        return assign_splits(manifest, fraction, seed)
    except DataError:
        reject()


def paths(manifest: Manifest, indices: tuple[int, ...]) -> set[str]:
    return {manifest.rows[index].path for index in indices}


def values(manifest: Manifest, indices: tuple[int, ...], name: str) -> set[str]:
    return {getattr(manifest.rows[index], name) for index in indices}


@given(MANIFESTS, FRACTIONS, SEEDS)
def test_no_patient_is_trained_on_and_validated_on(manifest: Manifest, fraction: float, seed: int) -> None:
    splits = assign(manifest, fraction, seed)
    assert not values(manifest, splits.train, "patient") & values(manifest, splits.validation, "patient")


@given(MANIFESTS, FRACTIONS, SEEDS)
def test_no_identical_files_are_in_two_parts(manifest: Manifest, fraction: float, seed: int) -> None:
    splits = assign(manifest, fraction, seed)
    train, validation, test = (
        values(manifest, part, "sha256") for part in (splits.train, splits.validation, splits.test)
    )
    assert not train & validation
    assert not (train | validation) & test


@given(MANIFESTS, FRACTIONS, SEEDS)
def test_every_file_is_in_one_part_but_for_copies_of_test_files(manifest: Manifest, fraction: float, seed: int) -> None:
    splits = assign(manifest, fraction, seed)
    placed = Counter([*splits.train, *splits.validation, *splits.test])
    assert set(placed.values()) <= {1}
    tested = {row.sha256 for row in manifest.rows if row.split == "test"}
    copies = {i for i, row in enumerate(manifest.rows) if row.split != "test" and row.sha256 in tested}
    assert set(range(len(manifest.rows))) - set(placed) == copies


@given(MANIFESTS, FRACTIONS, SEEDS)
def test_the_official_test_folder_stays_the_test(manifest: Manifest, fraction: float, seed: int) -> None:
    splits = assign(manifest, fraction, seed)
    assert splits.test == tuple(i for i, row in enumerate(manifest.rows) if row.split == "test")


@given(MANIFESTS, FRACTIONS, SEEDS)
def test_the_same_seed_gives_the_same_split(manifest: Manifest, fraction: float, seed: int) -> None:
    assert assign(manifest, fraction, seed) == assign(manifest, fraction, seed)


@given(MANIFESTS, FRACTIONS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    manifest: Manifest, fraction: float, seed: int, order: random.Random
) -> None:
    rows = list(manifest.rows)
    order.shuffle(rows)
    shuffled = replace(manifest, rows=tuple(rows))
    one, other = assign(manifest, fraction, seed), assign(shuffled, fraction, seed)
    for name in ("train", "validation", "test"):
        assert paths(manifest, one.named(name)) == paths(shuffled, other.named(name))


def validated(rows: list[Row], fraction: float, seed: int) -> set[str]:
    manifest = manifest_of(rows)
    return values(manifest, assign(manifest, fraction, seed).validation, "patient")


@given(st.integers(10, 60), FRACTIONS, SEEDS, st.integers(1, 4))
def test_a_new_patient_moves_at_most_one_other(count: int, fraction: float, seed: int, films: int) -> None:
    rows = [
        row("train", label, f"{label}{patient}", film)
        for label in ("NORMAL", "PNEUMONIA")
        for patient in range(count)
        for film in range(1 + patient % 3)
    ]
    before = validated(rows, fraction, seed)
    added = [row("train", "NORMAL", "new", 0)]
    after = validated([*rows, *added], fraction, seed)
    assert len((before ^ after) - {"new"}) <= 1
    assert {patient for patient in before if patient.startswith("PNEUMONIA")} == {
        patient for patient in after if patient.startswith("PNEUMONIA")
    }


@given(st.integers(5, 80), st.integers(5, 80), st.integers(5, 80), FRACTIONS, SEEDS)
def test_each_label_and_pathogen_is_validated_in_its_share(
    normal: int, bacteria: int, virus: int, fraction: float, seed: int
) -> None:
    rows = [
        *(row("train", "NORMAL", f"n{patient}", film) for patient in range(normal) for film in range(1 + patient % 4)),
        *(row("train", "PNEUMONIA", f"b{patient}", 0, pathogen="bacteria") for patient in range(bacteria)),
        *(row("train", "PNEUMONIA", f"v{patient}", 0, pathogen="virus") for patient in range(virus)),
    ]
    manifest = manifest_of(rows)
    splits = assign(manifest, fraction, seed)
    for label, pathogen, largest in (("NORMAL", "", 4), ("PNEUMONIA", "bacteria", 1), ("PNEUMONIA", "virus", 1)):
        kind = [(row.label, row.pathogen) == (label, pathogen) for row in manifest.rows]
        held_out = sum(kind[index] for index in splits.validation)
        # A patient's films stay together: half of the largest patient's is what the share can be missed by.
        assert abs(held_out - fraction * sum(kind)) <= largest / 2 + 0.5


def test_films_of_the_official_val_folder_are_trained_on_or_validated_on() -> None:
    val = [row("val", label, f"val{label}", 0) for label in ("NORMAL", "PNEUMONIA")]
    manifest = manifest_of([*ALWAYS, *val])
    splits = assign_splits(manifest, 0.3)
    assert {row.path for row in val} <= paths(manifest, splits.train + splits.validation)


def test_a_training_file_identical_to_a_test_file_is_left_out_and_said_to_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = manifest_of(
        [*ALWAYS, row("test", "NORMAL", "tested", 0, "same"), row("train", "NORMAL", "trained", 0, "same")]
    )
    splits = assign_splits(manifest, 0.3)
    assert "train/NORMAL/trained-0.jpeg" not in paths(manifest, splits.named("all"))
    assert "1 training files are identical to test files" in caplog.text


def test_another_seed_holds_out_other_patients() -> None:
    manifest = manifest_of(ALWAYS)
    drawn = {assign_splits(manifest, 0.3, seed).validation for seed in range(5)}
    assert len(drawn) > 1


def test_patients_left_out_by_name_validate_besides_the_drawn_ones() -> None:
    named = [row("train", "NORMAL", f"series-{patient}", film) for patient in range(9) for film in range(2)]
    same = [row("train", "NORMAL", "alike", 0, named[0].sha256)]
    manifest = manifest_of([*ALWAYS, *named, *same])
    drawn, both = assign_splits(manifest, 0.3), assign_splits(manifest, 0.3, leave_out="series-")
    validated = paths(manifest, both.validation)
    assert validated == paths(manifest, drawn.validation) | {row.path for row in [*named, *same]}
    assert validated.isdisjoint(paths(manifest, both.train))
    assert recorded_splits(manifest, {"validation_fraction": 0.3, "split_seed": 0, "leave_out": "series-"}) == both


def test_leaving_out_is_by_the_beginning_of_a_name() -> None:
    manifest = manifest_of([*ALWAYS, *(row("train", "NORMAL", f"2-IM-{patient}", 0) for patient in range(20))])
    with pytest.raises(DataError, match="No patient of tree has a name that begins with leave_out, 'IM-'"):
        assign_splits(manifest, 0.3, leave_out="IM-")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("NORMAL", "The train part of tree holds .* leave_out")],
)
def test_leaving_out_what_can_t_be_left_out_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign_splits(manifest_of(ALWAYS), 0.3, leave_out=pattern)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 15.0, float("nan")])
def test_a_fraction_outside_0_and_1_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match=r"validation_fraction is .* between 0 and 1"):
        assign_splits(manifest_of(ALWAYS), fraction)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([row("train", "NORMAL", f"n{patient}", 0) for patient in range(20)], "train"),
        ([row("train", "NORMAL", "n", 0), row("train", "PNEUMONIA", "p", 0)], "validation"),
        ([], "train"),
    ],
)
def test_a_part_without_both_labels_is_an_error_that_names_it(rows: list[Row], part: str) -> None:
    with pytest.raises(DataError, match=f"The {part} part of tree holds .* both are needed"):
        assign_splits(manifest_of(rows), 0.2)


def test_a_split_has_a_name_or_is_an_error() -> None:
    splits = Splits((0, 3), (1,), (2,))
    assert [splits.named(name) for name in ("train", "validation", "test", "all")] == [(0, 3), (1,), (2,), (0, 1, 2, 3)]
    with pytest.raises(DataError, match="no split 'val'; choose train, validation, test or all"):
        splits.named("val")


def test_the_real_films_are_split_without_leaks_and_in_proportion(mirror: Path) -> None:
    manifest = scan_tree(mirror)
    splits = assign_splits(manifest, 0.15, 0)
    for name in ("patient", "sha256"):
        assert not values(manifest, splits.train, name) & values(manifest, splits.validation, name)
    assert not values(manifest, splits.train + splits.validation, "sha256") & values(manifest, splits.test, "sha256")
    assert len(splits.named("all")) == len(manifest.rows)
    for label in ("NORMAL", "PNEUMONIA"):
        held_out = sum(manifest.rows[index].label == label for index in splits.validation)
        of_all = sum(row.label == label and row.split != "test" for row in manifest.rows)
        assert held_out == pytest.approx(0.15 * of_all, abs=3)
