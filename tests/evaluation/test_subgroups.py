"""Parts of a split: who is in them, and patients that occur in two splits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pneumonia.data.manifest import Manifest, Row
from pneumonia.errors import DataError
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.metrics import compute_metrics
from pneumonia.evaluation.subgroups import shared_patients, subgroup_figures


def row(split, patient):
    return Row(f"{split}/NORMAL/{patient}.png", split, "NORMAL", patient, "", 8, 8, "0" * 64)


@pytest.fixture
def inputs():
    patients = ["IM-0001", "IM-0002", "NORMAL2-IM-0003", "person1", "person2", "person3", "person4", "person4"]
    return EvaluationInput(
        paths=[f"test/{index}.jpeg" for index in range(8)],
        labels=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
        probabilities=np.array([0.1, 0.6, 0.2, 0.9, 0.3, 0.8, 0.7, 0.95]),
        patients=patients,
        pathogens=["", "", "", "bacteria", "bacteria", "virus", "virus", "virus"],
        shared=np.array([False, False, False, True, False, False, True, True]),
        threshold=0.5,
        temperature=1.0,
        split="test",
        data_digest="0" * 64,
        synthetic=False,
        model={"name": "cnn", "version": "v1"},
    )


def test_patients_of_a_split_that_occur_in_another_are_found():
    rows = (row("train", "a"), row("train", "b"), row("val", "c"), row("test", "b"), row("test", "c"), row("test", "d"))
    manifest = Manifest(Path(), rows)
    assert shared_patients(manifest, "test") == {"b", "c"}
    assert shared_patients(manifest, "test", others=("train",)) == {"b"}


def test_each_pathogen_is_set_against_every_normal_film(inputs):
    figures = subgroup_figures(inputs, resamples=20)
    assert {name: (figures[name]["n"], figures[name]["positives"]) for name in ("bacteria", "virus")} == {
        "bacteria": (5, 2),
        "virus": (6, 3),
    }


def test_films_of_patients_seen_in_train_are_parted_from_the_others(inputs):
    figures = subgroup_figures(inputs, resamples=20)
    assert figures["patients_not_in_train"]["n"] == 5
    assert figures["patients_also_in_train"]["n"] == 3
    assert figures["patients_also_in_train"]["patients"] == 2


def test_each_series_of_normal_films_is_set_against_every_pneumonia(inputs):
    figures = subgroup_figures(inputs, resamples=20)
    assert (figures["normals_IM"]["n"], figures["normals_NORMAL2-IM"]["n"]) == (7, 6)


def test_films_are_parted_by_size_where_sizes_differ(inputs):
    sizes = [(100, 100)] * 3 + [(200, 100)] * 5
    figures = subgroup_figures(replace(inputs, sizes=sizes), resamples=20)
    assert (figures["smaller_films"]["n"], figures["larger_films"]["n"]) == (3, 5)
    assert "larger_films" not in subgroup_figures(replace(inputs, sizes=[(100, 100)] * 8), resamples=20)


def test_a_part_has_the_figures_of_its_films(inputs):
    figure = subgroup_figures(inputs, resamples=20)["bacteria"]["auroc"]
    assert figure["value"] == compute_metrics([0, 0, 0, 1, 1], [0.1, 0.6, 0.2, 0.9, 0.3], 0.5)["auroc"]
    assert figure["low"] <= figure["value"] <= figure["high"]


def test_what_is_undefined_in_a_part_is_none(inputs):
    assert subgroup_figures(inputs, resamples=20)["patients_also_in_train"]["specificity"]["value"] is None


def test_a_part_that_is_everything_is_left_out(inputs):
    alone = replace(inputs, shared=np.zeros(8, dtype=bool))
    assert not {"patients_not_in_train", "patients_also_in_train"} & set(subgroup_figures(alone, resamples=20))


@pytest.mark.parametrize("column", ["paths", "patients", "pathogens"])
def test_a_column_of_another_length_is_refused(inputs, column):
    with pytest.raises(DataError, match=f"7 {column} for 8 films"):
        replace(inputs, **{column: list(getattr(inputs, column))[:7]})


def test_a_split_without_films_is_refused(inputs):
    nothing = np.array([])
    with pytest.raises(DataError, match="'test' has no films"):
        replace(inputs, paths=[], labels=nothing, probabilities=nothing, patients=[], pathogens=[], shared=nothing)
