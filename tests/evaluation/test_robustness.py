"""Robustness: figures of corrupted and shrunken films, through the real command and from views that are made up."""

import hashlib
import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from pneumonia.bundle import load_bundle
from pneumonia.data.manifest import Row, scan_tree
from pneumonia.errors import DataError
from pneumonia.evaluation.corruptions import CORRUPTIONS, GRADES, MIDDLE_GRADE, corrupt
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.intervals import Interval
from pneumonia.evaluation.plots import grades_plot
from pneumonia.evaluation.robustness import FIGURES, headline, robustness_figures
from pneumonia.evaluation.robustness_page import robustness_section
from pneumonia.evaluation.robustness_views import FilmViews, lossless, shrink, view_film
from pneumonia.images import read_radiograph
from pneumonia.inference.predictor import Predictor

LABELS = np.arange(24) % 2
NAMES = list(CORRUPTIONS)


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def read_report(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def said(labels, errors=0):
    """Probabilities that rank films by their label, but for the first few, which are the wrong way round."""
    return np.where(np.arange(len(labels)) < errors, 1 - labels, labels) * 0.8 + 0.1


def made_up(labels=LABELS, errors=None, shrunken=None, turned_away=()):
    """Inputs and views; `errors` maps (name, grade) to how many films that view turns round."""
    inputs = EvaluationInput(
        paths=[f"test/{index}.jpeg" for index in range(len(labels))],
        labels=np.asarray(labels),
        probabilities=said(labels, 1),
        patients=[f"person{index}" for index in range(len(labels))],
        pathogens=["" for _ in labels],
        shared=np.zeros(len(labels), dtype=bool),
        threshold=0.5,
        temperature=1.0,
        split="test",
        data_digest="0" * 64,
        synthetic=False,
        model={"name": "cnn", "version": "v1"},
    )
    seen = np.array([[said(labels, (errors or {}).get((name, grade), 1)) for grade in GRADES] for name in NAMES])
    away = np.array([[(name, grade) in turned_away for grade in GRADES] for name in NAMES])
    small = np.full(len(labels), np.nan) if shrunken is None else shrunken
    views = [FilmViews(seen[:, :, film], away, False, float(small[film])) for film in range(len(labels))]
    return inputs, robustness_figures(inputs, views, resamples=20)


@pytest.fixture(scope="module")
def reported(command, bundle_dir, tree, tmp_path_factory):
    """The folder of a report with robustness, and what the command printed."""
    folder = tmp_path_factory.mktemp("robustness")
    options = ["--bundle", bundle_dir, "--data", tree, "--output", folder, "--resamples", 20, "--robustness"]
    finished = command("evaluate", *options)
    assert finished.returncode == 0, finished.stderr
    return folder, finished.stdout


@pytest.mark.parametrize("name", ["crop", "noise", "sharpening"])
def test_the_report_gives_what_corrupted_files_give_when_they_are_classified(
    reported, bundle_dir, tree, tmp_path, name
):
    predictor, manifest = Predictor(load_bundle(bundle_dir)), scan_tree(tree)
    paths, labels = [], []
    for row in (row for row in manifest.rows if row.split == "test"):
        film = tree / row.path
        seed = int.from_bytes(hashlib.sha256(film.read_bytes()).digest()[:8], "big")
        paths.append(tmp_path / f"{film.stem}.png")
        labels.append(row.label == "PNEUMONIA")
        Image.fromarray(corrupt(np.asarray(Image.open(film)), name, MIDDLE_GRADE, seed)).save(paths[-1])
    answers = list(predictor.predict_files(paths))
    probabilities = [answer.probability for answer in answers]
    called = [answer.prediction == "PNEUMONIA" for answer in answers]
    cell = read_report(reported[0])["robustness"]["corruptions"][name]["grades"][MIDDLE_GRADE - 1]
    assert cell["amount"] == CORRUPTIONS[name].amounts[MIDDLE_GRADE - 1]
    assert cell["auroc"]["value"] == pytest.approx(roc_auc_score(labels, probabilities))
    labels, called = np.array(labels), np.array(called)
    assert cell["sensitivity"]["value"] == pytest.approx(called[labels].mean())
    assert cell["specificity"]["value"] == pytest.approx(1 - called[~labels].mean())
    assert cell["turned_away"] == sum(not answer.input_check.passed for answer in answers)


def test_every_corruption_has_every_grade_with_every_figure(reported):
    robustness = read_report(reported[0])["robustness"]
    assert list(robustness["corruptions"]) == NAMES
    for corruption in robustness["corruptions"].values():
        assert [cell["grade"] for cell in corruption["grades"]] == list(GRADES)
        assert all(set(cell[name]) == {"value", "low", "high"} for cell in corruption["grades"] for name in FIGURES)


def test_figures_without_a_corruption_are_those_of_the_report(reported):
    report = read_report(reported[0])
    assert all(report["robustness"]["plain"][name] == report[name] for name in FIGURES)


def test_the_command_says_the_worst_view_in_one_line(reported):
    robustness = read_report(reported[0])["robustness"]
    assert [line for line in reported[1].splitlines() if line.startswith("robustness")] == [headline(robustness)]
    assert robustness["worst"]["corruption"] in headline(robustness)


def test_the_page_has_the_section_and_says_that_no_film_is_large(reported):
    page = (reported[0] / "report.html").read_text(encoding="utf-8")
    assert robustness_section(read_report(reported[0])) in page
    assert "No film of this split measures 448 pixels" in page


def test_without_the_flag_nothing_of_it_is_there(reported, command, bundle_dir, tree, tmp_path):
    options = ["--bundle", bundle_dir, "--data", tree, "--output", tmp_path, "--resamples", 20]
    finished = command("evaluate", *options)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    with_it = read_report(reported[0])
    section = robustness_section(with_it)
    del with_it["robustness"]
    assert read_report(tmp_path) == with_it
    assert page == (reported[0] / "report.html").read_text(encoding="utf-8").replace(section, "")
    assert "robustness" not in finished.stdout + page


def test_a_film_is_changed_in_the_same_way_in_every_tree_and_under_every_name(bundle_dir, tree, tmp_path):
    predictor, first = Predictor(load_bundle(bundle_dir), threads=1), scan_tree(tree).rows[0]
    other = tmp_path / "test" / "NORMAL" / "other.jpeg"
    other.parent.mkdir(parents=True)
    shutil.copy(tree / first.path, other)
    views = [view_film(predictor, tree, first), view_film(predictor, tmp_path, scan_tree(tmp_path).rows[0])]
    assert np.array_equal(views[0].probabilities, views[1].probabilities)
    assert np.ptp(views[0].probabilities) > 0


def test_a_large_film_is_compared_with_its_shrunken_copy(command, bundle_dir, draw_film, tmp_path):
    copies = {}
    for seed, label in enumerate(("NORMAL", "PNEUMONIA", "NORMAL", "PNEUMONIA")):
        film, size = tmp_path / "tree" / "test" / label / f"film{seed}.png", (500, 460) if seed else (500, 440)
        film.parent.mkdir(parents=True, exist_ok=True)
        draw_film(seed, label, *size).save(film)
        copies[film] = tmp_path / f"film{seed}.jpeg"
        Image.open(film).resize((224, 224), Image.Resampling.BILINEAR).save(copies[film], quality=75)
    options = ["--bundle", bundle_dir, "--data", tmp_path / "tree", "--output", tmp_path / "report", "--resamples", 20]
    finished = command("evaluate", *options, "--robustness")
    assert finished.returncode == 0, finished.stderr
    predictor = Predictor(load_bundle(bundle_dir))
    large = [film for film in copies if film.stem != "film0"]  # the first is not large enough
    full, small = (
        np.array([answer.probability for answer in predictor.predict_files(paths)])
        for paths in (large, [copies[film] for film in large])
    )
    figures = read_report(tmp_path / "report")["robustness"]["full_size"]
    assert (figures["n"], figures["positives"]) == (3, 2)
    assert figures["largest_difference"] == pytest.approx(np.abs(full - small).max(), abs=1e-5)
    assert figures["mean_difference"] == pytest.approx(np.abs(full - small).mean(), abs=1e-5)
    truth = [film.parent.name == "PNEUMONIA" for film in large]
    assert figures["full"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, full))
    assert figures["shrunken"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, small))


def test_a_film_that_can_not_be_decoded_is_named(bundle_dir, tmp_path):
    (tmp_path / "torn.jpeg").write_bytes(b"\xff\xd8\xff")
    row = Row("torn.jpeg", "test", "NORMAL", "torn", "", 9, 9, "0" * 64)
    with pytest.raises(DataError, match=r"torn\.jpeg"):
        view_film(Predictor(load_bundle(bundle_dir), threads=1), tmp_path, row)


def test_the_worst_view_is_the_one_with_the_lowest_auroc_at_the_middle_grade():
    _, robustness = made_up(errors={("border", 3): 6, ("noise", 3): 4, ("JPEG", 5): 12})
    worst, plain = robustness["worst"], robustness["plain"]["auroc"]["value"]
    assert (worst["corruption"], worst["amount"], worst["unit"]) == ("border", 0.85, "of each side")
    assert worst["auroc"] == robustness["corruptions"]["border"]["grades"][2]["auroc"]["value"]
    assert worst["drop"] == pytest.approx(plain - worst["auroc"])
    assert worst["drop"] > 0


def test_a_view_that_is_better_than_the_plain_one_has_a_negative_drop():
    _, robustness = made_up(errors={("blur", 2): 0})
    assert robustness["corruptions"]["blur"]["grades"][1]["drop"] < 0


def test_films_that_the_input_check_turns_away_are_counted():
    _, robustness = made_up(turned_away={("resolution", 5)})
    counts = [cell["turned_away"] for cell in robustness["corruptions"]["resolution"]["grades"]]
    assert counts == [0, 0, 0, 0, len(LABELS)]
    assert robustness["plain"]["turned_away"] == 0


def test_what_films_of_one_class_leave_undefined_is_null_and_said_in_words():
    _, robustness = made_up(labels=np.ones(6, dtype=int))
    text = json.dumps(robustness, allow_nan=False)
    assert robustness["worst"] is None
    assert '"drop": null' in text
    assert "undefined" in headline(robustness)
    assert "undefined" in robustness_section({"robustness": robustness})


def test_decisions_that_shrinking_changes_are_counted():
    _, robustness = made_up(shrunken=np.where(np.arange(24) < 10, said(LABELS, 4), np.nan))
    full_size = robustness["full_size"]
    assert (full_size["n"], full_size["changed_decisions"]) == (10, 3)
    assert full_size["largest_difference"] == pytest.approx(0.8)
    assert full_size["mean_difference"] == pytest.approx(0.24)
    assert "10 films with a short side" in robustness_section({"robustness": robustness})


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.tags = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_the_section_has_described_plots_captions_on_tables_and_no_script():
    tags = Page(robustness_section({"robustness": made_up()[1]})).tags
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(plots) == 3
    assert all(plot["role"] == "img" and "13 corruptions" in plot["aria-label"] for plot in plots)
    assert [tag for tag, _ in tags].count("table") == [tag for tag, _ in tags].count("caption") == 2
    assert len(ids) == len(set(ids))
    assert not {"script", "img", "link"} & {tag for tag, _ in tags}


@pytest.mark.parametrize("count", [1, 4, 5, 13])
def test_a_plot_of_grades_takes_any_number_of_panels_and_what_is_undefined(count):
    undefined, line = Interval(np.nan, np.nan, np.nan), [Interval(0.9 - grade / 50, 0.7, 0.95) for grade in GRADES]
    panels = {f"<{index}>": {"AUROC": [undefined, *line[1:]]} for index in range(count)}
    for plain in (0.9, np.nan):
        text = grades_plot("grades", 'a "plot" of AUROC & grades', panels, {"AUROC": plain})
        assert ElementTree.fromstring(text).get("aria-label") == 'a "plot" of AUROC & grades'
    nothing = {"x": {"AUROC": [undefined] * 5}}
    ElementTree.fromstring(grades_plot("grades", "nothing", nothing, {"AUROC": np.nan}))


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32))
def test_a_film_comes_back_pixel_by_pixel_from_the_file_that_is_made_of_it(height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    for view in (pixels, pixels[::-1], pixels[:, : width // 2 + 1]):
        assert np.array_equal(read_radiograph(lossless(view)).pixels, view)


def test_a_shrunken_film_is_a_square_jpeg_of_the_size_of_trains_films():
    film = Image.open(io.BytesIO(shrink(np.zeros((600, 800), dtype=np.uint8))))
    assert (film.format, film.size, film.mode) == ("JPEG", (224, 224), "L")


@pytest.mark.slow
def test_shrunken_films_are_compressed_as_the_real_ones_are(mirror: Path):
    ours = Image.open(io.BytesIO(shrink(np.zeros((600, 800), dtype=np.uint8))))
    for film in sorted((mirror / "test").glob("*/*.jpeg"))[:20]:
        real = Image.open(film)
        assert real.size == ours.size
        assert real.quantization[0] == ours.quantization[0]
