"""The report: strict JSON, a table, and a page that hostile file names can't break."""

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pneumonia import DISCLAIMER
from pneumonia.evaluation.inputs import EvaluationInput
from pneumonia.evaluation.metrics import METRICS, compute_metrics
from pneumonia.evaluation.report import build_report, write_report

HOSTILE = 'test/PNEUMONIA/"><script>alert(1)</script>&<img src=x onerror=alert(2)>,\n.jpeg'


@pytest.fixture
def inputs():
    generator = np.random.default_rng(0)
    labels = (np.arange(80) < 50).astype(int)
    return EvaluationInput(
        paths=[f"test/{'PNEUMONIA' if label else 'NORMAL'}/{index}.jpeg" for index, label in enumerate(labels)],
        labels=labels,
        probabilities=1 / (1 + np.exp(-generator.normal(-1 + 3 * labels, 2))),
        patients=[f"person{index // 2}" if label else f"IM-{index:04d}" for index, label in enumerate(labels)],
        pathogens=[
            "bacteria" if label and index % 2 else "virus" if label else "" for index, label in enumerate(labels)
        ],
        shared=np.arange(80) % 3 == 0,
        threshold=0.4,
        temperature=1.3,
        split="test",
        data_digest="ab" * 32,
        synthetic=False,
        model={"name": "cnn", "version": "v3"},
    )


@pytest.fixture
def written(inputs, tmp_path):
    def write(**changes):
        changed = replace(inputs, **changes)
        write_report(tmp_path, build_report(changed, resamples=50), changed)
        return tmp_path

    return write


class Page(HTMLParser):
    """What a browser would build: tags, their attributes and the text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(directory):
    return Page((directory / "report.html").read_text(encoding="utf-8"))


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_the_report_is_strict_json_and_has_every_figure_with_its_interval(written):
    report = json.loads((written() / "report.json").read_text(), parse_constant=refuse)
    assert report["n"] == 80
    assert all(set(report[name]) == {"value", "low", "high"} for name in METRICS)


def test_the_report_says_what_was_measured_and_how(inputs):
    report = build_report(inputs, resamples=50, level=0.9)
    expected = {
        "threshold": 0.4,
        "temperature": 1.3,
        "level": 0.9,
        "resamples": 50,
        "split": "test",
        "data_digest": "ab" * 32,
        "synthetic": False,
        "model": {"name": "cnn", "version": "v3"},
        "positives": 50,
        "patients": 55,
    }
    assert {name: report[name] for name in expected} == expected
    assert sum(report["confusion_matrix"].values()) == 80
    assert {"bacteria", "virus", "patients_not_in_train"} <= set(report["subgroups"])


def test_an_undefined_figure_is_null_and_named_on_the_page(inputs, tmp_path):
    rows = np.flatnonzero(inputs.labels)
    positives = EvaluationInput(
        **{
            **vars(inputs),
            **{name: [getattr(inputs, name)[row] for row in rows] for name in ("paths", "patients", "pathogens")},
            **{name: getattr(inputs, name)[rows] for name in ("labels", "probabilities", "shared")},
        }
    )
    write_report(tmp_path, build_report(positives, resamples=50), positives)
    assert json.loads((tmp_path / "report.json").read_text())["specificity"]["value"] is None
    assert "undefined" in page(tmp_path).text


def test_worst_errors_are_wrong_calls_by_the_probability_of_the_truth(inputs):
    errors = build_report(inputs, resamples=10)["worst_errors"]
    surprise = [1 - e["probability"] if e["label"] == "NORMAL" else e["probability"] for e in errors]
    assert 0 < len(errors) <= 20
    assert surprise == sorted(surprise)
    assert all((error["probability"] >= 0.4) == (error["label"] == "NORMAL") for error in errors)


def test_predictions_have_the_columns_and_give_the_figures_again(inputs, written):
    with (written() / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "probability", "prediction"]
    assert [row["path"] for row in rows] == list(inputs.paths)
    labels = [int(row["label"] == "PNEUMONIA") for row in rows]
    probabilities = [float(row["probability"]) for row in rows]
    assert [int(row["prediction"] == "PNEUMONIA") for row in rows] == [int(p >= 0.4) for p in probabilities]
    assert compute_metrics(labels, probabilities, 0.4) == compute_metrics(inputs.labels, inputs.probabilities, 0.4)


def test_hostile_file_names_are_text_on_the_page(inputs, written):
    worst = int(np.argmin(np.where(inputs.labels == 1, inputs.probabilities, 1 - inputs.probabilities)))
    paths = [HOSTILE if index == worst else path for index, path in enumerate(inputs.paths)]
    shown = page(written(paths=paths))
    assert HOSTILE in shown.text
    assert not shown.all("script")
    assert not shown.all("img")


@pytest.mark.parametrize(
    "changes",
    [
        {"split": HOSTILE},
        {"data_digest": HOSTILE},
        {"model": {"name": HOSTILE, "version": HOSTILE, HOSTILE: "key"}},
        {"pathogens": [HOSTILE if index < 20 else "" for index in range(80)]},
    ],
    ids=["split", "digest", "model", "pathogen"],
)
def test_no_text_from_outside_becomes_markup(written, changes):
    shown = page(written(**changes))
    assert not shown.all("script")
    assert not shown.all("img")


def test_dollar_signs_in_names_are_left_as_they_are(written):
    assert any("$title ${x}" in text for text in page(written(model={"name": "$title ${x}", "version": "v1"})).text)


def test_a_file_name_that_is_no_utf8_comes_back_as_its_bytes(inputs, written):
    paths = [b"test/NORMAL/\xff.jpeg".decode("utf-8", "surrogateescape"), *inputs.paths[1:]]
    directory = written(paths=paths, probabilities=np.where(np.arange(80) == 0, 0.0, inputs.probabilities))
    assert b"test/NORMAL/\xff.jpeg" in (directory / "predictions.csv").read_bytes()
    assert "udcff" in (directory / "report.html").read_text(encoding="utf-8")


def test_the_page_asks_nothing_of_the_network(written):
    shown = page(written())
    references = [
        attributes[name] for _, attributes in shown.tags for name in ("src", "href", "xlink:href") if name in attributes
    ]
    assert all(reference.startswith("#") for reference in references)
    assert shown.all("meta")[1]["content"].startswith("default-src 'none'")


def test_the_page_has_a_described_plot_in_each_figure_and_a_caption_on_each_table(written):
    shown = page(written())
    plots = shown.all("svg")
    assert len(plots) == len(shown.all("figcaption")) == 4
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    assert len(shown.all("table")) == len(shown.all("caption")) > 0


def test_no_two_elements_of_the_page_share_an_id(written):
    ids = [attributes["id"] for _, attributes in page(written()).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_bears_the_disclaimer_and_figures_with_intervals(inputs, written):
    text = "".join(page(written()).text)
    auroc = build_report(inputs, resamples=50)["auroc"]
    assert DISCLAIMER in text
    assert f"{auroc['value']:.3f} ({auroc['low']:.3f}-{auroc['high']:.3f})" in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_are_announced_by_a_banner_and_only_they(written, synthetic):
    banners = [attributes for attributes in page(written(synthetic=synthetic)).all("p") if "banner" in str(attributes)]
    assert bool(banners) == synthetic


def test_a_model_without_an_error_is_reported(inputs, written):
    shown = page(written(probabilities=inputs.labels.astype(float)))
    assert "No film was called wrong." in shown.text


def test_the_same_inputs_give_the_same_bytes(written):
    first = {path.name: path.read_bytes() for path in written().iterdir()}
    assert first == {path.name: path.read_bytes() for path in written().iterdir()}
    assert set(first) == {"report.json", "report.html", "predictions.csv"}


def test_other_files_of_the_directory_stay(written, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert (written() / "notes.txt").read_text() == "mine"
