"""Faithfulness: what deletion and insertion say of a heatmap, from areas that are made up and of a real bundle."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch import nn

from pneumonia.bundle import GRAPH, load_bundle
from pneumonia.data.manifest import scan_tree
from pneumonia.errors import DataError
from pneumonia.evaluation.command import predict_split
from pneumonia.evaluation.faithfulness import (
    faithfulness_figures,
    film_areas,
    headline,
    mean_film,
    measure_faithfulness,
)
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.export import export_graph
from pneumonia.inference.predictor import Predictor
from pneumonia.models.layers import PooledClassifier

SHARES = ("deletion_beats", "insertion_beats", "both_beat")
# Deletion, deletion by random masks, insertion, insertion by random masks: both beat them, one does, none does, ties.
AREAS = np.array(
    [[0.1, 0.5, 0.9, 0.6], [0.1, 0.5, 0.5, 0.6], [0.6, 0.5, 0.9, 0.6], [0.6, 0.5, 0.5, 0.6], [0.5, 0.5, 0.6, 0.6]]
)
PATIENTS = ["a", "b", "c", "d", "e"]
AREA = st.floats(0, 1)


@pytest.fixture(scope="module")
def inputs(bundle_dir, tree):
    """All of test, with the bundle's probabilities; the threshold is such that some films are called PNEUMONIA."""
    given_inputs = predict_split(load_bundle(bundle_dir), scan_tree(tree), "test")
    return replace(given_inputs, threshold=float(np.sort(given_inputs.probabilities)[-6]))


@pytest.fixture(scope="module")
def figures(bundle_dir, tree, inputs: EvaluationInput):
    return measure_faithfulness(load_bundle(bundle_dir), tree, inputs, resamples=20)


def test_smaller_deletion_and_larger_insertion_beat_random_masks_and_ties_do_not():
    figures = faithfulness_figures(AREAS, PATIENTS, resamples=20)
    assert [figures[name]["value"] for name in SHARES] == [0.4, 0.4, 0.2]


def test_areas_are_averaged_over_films():
    figures = faithfulness_figures(AREAS, PATIENTS, resamples=20)
    assert figures["deletion"] == pytest.approx({"heatmap": 0.38, "random": 0.5})
    assert figures["insertion"] == pytest.approx({"heatmap": 0.68, "random": 0.6})


@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=AREA))
def test_both_are_beaten_no_more_often_than_either_and_every_share_is_within_its_interval(areas):
    figures = faithfulness_figures(areas, [str(film) for film in range(len(areas))], resamples=20)
    shares = {name: figures[name]["value"] for name in SHARES}
    assert shares["both_beat"] <= min(shares["deletion_beats"], shares["insertion_beats"])
    if len(areas) > 1:
        assert all(figures[name]["low"] <= shares[name] <= figures[name]["high"] for name in SHARES)


def test_without_a_film_everything_is_undefined_and_said_so():
    figures = faithfulness_figures(np.empty((0, 4)), [])
    assert figures["n"] == 0
    assert all(part is None for name in set(figures) - {"n"} for part in figures[name].values())
    assert headline(figures) == "faithfulness: no film was called PNEUMONIA"


def test_the_headline_says_how_often_both_beat_random_masks():
    figures = faithfulness_figures(AREAS, PATIENTS, resamples=20)
    said = headline({**figures, "log_odds": faithfulness_figures(AREAS[:1], PATIENTS[:1], resamples=20)})
    assert "beat random masks for 100.0% of 5 films called PNEUMONIA, by the log-odds" in said
    assert said.endswith("by the probability for 20.0%")


def test_of_a_bundle_the_films_that_are_called_pneumonia_are_measured(figures, inputs):
    assert figures["n"] == inputs.predictions.sum() == 6


def test_its_figures_have_the_form_that_is_promised(figures):
    assert set(figures) == {"n", "deletion", "insertion", *SHARES, "log_odds", "baseline"}
    assert set(figures["log_odds"]) == set(figures) - {"log_odds", "baseline"}
    assert 0 < figures["baseline"] < 1
    assert all(set(figures[name]) == {"value", "low", "high"} for name in SHARES)
    for name in ("deletion", "insertion"):
        assert set(figures[name]) == {"heatmap", "random"}
        assert all(0 <= area <= 1 for area in figures[name].values())
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_the_same_films_give_the_same_figures(bundle_dir, tree, inputs, figures):
    assert measure_faithfulness(load_bundle(bundle_dir), tree, inputs, resamples=20) == figures


def test_a_film_s_figures_do_not_depend_on_the_others(bundle_dir, tree, inputs, figures):
    # Each film that is called alone, by lifting every other below the threshold.
    called = np.flatnonzero(inputs.predictions)
    alone = [
        measure_faithfulness(
            load_bundle(bundle_dir),
            tree,
            replace(inputs, probabilities=np.where(np.arange(len(inputs.labels)) == film, 1.0, 0.0)),
            resamples=20,
        )
        for film in called
    ]
    means = [math.fsum(one["deletion"][mask] for one in alone) / len(alone) for mask in ("heatmap", "random")]
    assert [figures["deletion"][mask] for mask in ("heatmap", "random")] == pytest.approx(means, abs=1e-5)


def test_where_no_film_is_called_pneumonia_nothing_is_measured(bundle_dir, tree, inputs):
    none = replace(inputs, probabilities=np.zeros(len(inputs.labels)))
    figures = measure_faithfulness(load_bundle(bundle_dir), tree, none, resamples=20)
    assert (figures["n"], figures["log_odds"]["n"], figures["baseline"]) == (0, 0, None)


def test_the_mean_is_of_films_spread_evenly_over_all(bundle_dir, tmp_path, monkeypatch):
    paths = [tmp_path / f"{level}.png" for level in (40, 50, 80)]
    for path in paths:
        Image.fromarray(np.full((64, 64), int(path.stem), np.uint8)).save(path)
    predictor = Predictor(load_bundle(bundle_dir))
    assert set(mean_film(predictor, paths[::2]).ravel().tolist()) == {60}
    monkeypatch.setattr("pneumonia.evaluation.faithfulness._BASELINE_FILMS", 2)
    assert set(mean_film(predictor, paths).ravel().tolist()) == {60}


def test_a_film_that_gives_way_to_itself_has_the_areas_of_a_line(bundle_dir, tree, inputs):
    predictor = Predictor(load_bundle(bundle_dir))
    areas = film_areas(predictor, tree / inputs.paths[0], lambda film: film, 0)
    assert areas == pytest.approx(np.repeat(areas[:, :1], 4, axis=1), abs=1e-5)
    assert areas[0, 0] == pytest.approx(inputs.probabilities[0], abs=1e-4)
    assert not np.allclose(film_areas(predictor, tree / inputs.paths[0], np.zeros_like, 0), areas, atol=1e-3)


class BrightSpots(nn.Module):
    """Calls a film PNEUMONIA for what is bright in it and in no NORMAL film; its map is exact, times `sign`."""

    def __init__(self, sign):
        super().__init__()
        self.sign, self.classifier = sign, PooledClassifier(1, 2)
        self.classifier.linear.weight.data.copy_(self.classifier.linear.weight.new_tensor([[0.0], [40.0]]))
        self.classifier.linear.bias.data.copy_(self.classifier.linear.bias.new_tensor([4.0, 0.0]))

    def forward(self, images):
        bright = nn.functional.avg_pool2d(((images.float() - 140) / 20).relu(), 4)
        output = self.classifier(bright)
        return output._replace(activation_map=self.sign * output.activation_map)


@pytest.mark.parametrize(("sign", "share"), [(1, 1.0), (-1, 0.0)])
def test_a_map_of_what_decides_beats_random_masks_and_its_opposite_does_not(bundle_dir, inputs, tmp_path, sign, share):
    directory = shutil.copytree(bundle_dir, tmp_path / "bundle")
    export_graph(BrightSpots(sign), 64, directory / GRAPH)
    bundle = replace(load_bundle(bundle_dir), directory=directory)
    for film in range(4):
        pixels = np.full((64, 64), 60, np.uint8)
        pixels[8 + 10 * film :][:12, 20 + 5 * film :][:, :12] = 255
        Image.fromarray(pixels).save(tmp_path / f"{film}.png")
    Image.fromarray(np.full((64, 64), 60, np.uint8)).save(tmp_path / "4.png")
    spotted = replace(
        inputs,
        paths=[f"{film}.png" for film in range(5)],
        labels=np.array([1, 1, 1, 1, 0]),
        probabilities=np.array([1.0, 1.0, 1.0, 1.0, 0.0]),
        shared=np.zeros(5, dtype=bool),
        patients=list("abcde"),
        pathogens=[""] * 5,
        sizes=None,
        answers=None,
        digests=None,
    )
    figures = measure_faithfulness(bundle, tmp_path, spotted, resamples=20)
    assert {figures[name]["value"] for name in SHARES} == {share}
    assert figures["baseline"] < 0.5


def test_without_a_normal_film_there_is_nothing_to_mask_films_by(bundle_dir, tree, inputs):
    with pytest.raises(DataError, match="no NORMAL film"):
        measure_faithfulness(load_bundle(bundle_dir), tree, replace(inputs, labels=np.ones(len(inputs.labels), int)))
