"""Plots are SVG that a page can hold: well-formed, described, themed, and the same for the same arrays."""

import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pneumonia.evaluation.intervals import Interval
from pneumonia.evaluation.plots import calibration_plot, histogram_plot, precision_recall_plot, roc_plot

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 2, 120)
PROBABILITIES = np.clip(GENERATOR.normal(0.35 + 0.3 * LABELS, 0.2), 0, 1)
POINT = Interval(0.8, 0.7, 0.9)
PLOTS = {
    "roc": lambda labels, probabilities: roc_plot(labels, probabilities, POINT, POINT),
    "precision-recall": lambda labels, probabilities: precision_recall_plot(labels, probabilities, POINT, POINT),
    "calibration": calibration_plot,
    "histogram": lambda labels, probabilities: histogram_plot(labels, probabilities, 0.4),
}


@pytest.fixture(params=PLOTS)
def plot(request):
    return request.param


def test_a_plot_is_well_formed_svg_with_a_description(plot):
    root = ElementTree.fromstring(PLOTS[plot](LABELS, PROBABILITIES))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 20


def test_a_plot_is_the_same_for_the_same_arrays(plot):
    assert PLOTS[plot](LABELS, PROBABILITIES) == PLOTS[plot](LABELS, PROBABILITIES)


def test_ids_of_a_plot_bear_its_name_and_every_reference_is_to_one_of_them(plot):
    text = PLOTS[plot](LABELS, PROBABILITIES)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids
    assert all(name.startswith(f"{plot}-") for name in ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) <= set(ids)


def test_colours_follow_the_page(plot):
    text = PLOTS[plot](LABELS, PROBABILITIES)
    assert "var(--ink, #" in text
    assert not re.search(r"(?:fill|stroke): #", text)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_films_of_one_class_are_drawn_without_an_error(plot, labels):
    ElementTree.fromstring(PLOTS[plot](labels, [0.2, 1.0]))


def test_an_operating_point_that_is_undefined_is_not_drawn():
    undefined = Interval(np.nan, np.nan, np.nan)
    assert roc_plot(LABELS, PROBABILITIES, undefined, POINT) == roc_plot(LABELS, PROBABILITIES)


def test_drawing_leaves_matplotlibs_settings_alone_and_does_without_pyplot(plot):
    import matplotlib as mpl

    before, loaded = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    PLOTS[plot](LABELS, PROBABILITIES)
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
