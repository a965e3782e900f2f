"""`pneumonia recalibrate`: films of another site, by the real command, to a bundle that passes its staged tests."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pneumonia.bundle import CARD, REFERENCE, graph_version, load_bundle, write_bundle
from pneumonia.cli import main
from pneumonia.data.card import DATA_CARD
from pneumonia.data.manifest import SYNTHETIC_MARKER, scan_tree
from pneumonia.evaluation.command import predict_split
from pneumonia.inference.predictor import Predictor
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.staged.run import examine_bundle
from pneumonia.registry.staged.subject import StagedOptions
from tests.registry.conftest import push_tested

DrawFilm = Callable[..., Image.Image]
PATIENTS = 24


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, draw_film: DrawFilm) -> Path:
    """Films of a scanner of its own, darker than those of the training: a tree with nothing but test in it."""
    root = tmp_path_factory.mktemp("site") / "films"
    for seed in range(2 * PATIENTS):
        label = ("NORMAL", "PNEUMONIA")[seed % 2]
        name = f"IM-{seed:04}" if seed % 2 == 0 else f"person{seed}_{('bacteria', 'virus')[seed // 2 % 2]}"
        for film in range(1 + seed % 3 // 2):
            path = root / "test" / label / f"{name}{'-' if seed % 2 == 0 else '_'}{film + 1:04}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            drawn = draw_film(1000 + 10 * seed + film, label, 100, 90)
            Image.eval(drawn, lambda gray: int(0.8 * gray)).save(path, quality=90)
    return root


@pytest.fixture(scope="session")
def recalibrated(tmp_path_factory: pytest.TempPathFactory, bundle_dir: Path, site: Path) -> Path:
    """The session's bundle, recalibrated on the site's films."""
    output = tmp_path_factory.mktemp("recalibrated") / "bundle"
    assert recalibrate(bundle_dir, site, output, "--rule", "youden", "--name", "site") == 0
    return output


def recalibrate(bundle: Path, data: Path, output: Path, *options: str) -> int:
    words = ["recalibrate", "--bundle", bundle, "--data", data, "--output", output, *options]
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    return int(ended.value.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], bundle: Path, data: Path, output: Path, *options: str) -> str:
    """What it says when it refuses; nothing is written then."""
    before = sorted(output.parent.rglob("*"))
    assert recalibrate(bundle, data, output, *options) == 1
    assert sorted(output.parent.rglob("*")) == before
    return capsys.readouterr().err


@pytest.mark.slow
def test_network_and_input_check_stay_and_the_operating_point_is_of_the_site_s_films(
    bundle_dir: Path, recalibrated: Path, site: Path
) -> None:
    old, new = load_bundle(bundle_dir), load_bundle(recalibrated)
    for name in ("model.onnx", "typicality.npz", DATA_CARD):
        assert (recalibrated / name).read_bytes() == (bundle_dir / name).read_bytes()
    assert (new.name, new.operating_point.rule) == ("site", "youden")
    assert new.operating_point.temperature == old.operating_point.temperature
    assert new.operating_point.offset != 0
    assert new.version != old.version
    inputs = predict_split(new, scan_tree(site), "test")
    assert inputs.probabilities.sum() == pytest.approx(inputs.labels.sum(), abs=1e-3)
    assert inputs.offset == new.operating_point.offset


@pytest.mark.slow
def test_every_way_to_a_prediction_has_the_offset(bundle_dir: Path, recalibrated: Path, site: Path) -> None:
    film = next(site.rglob("*.jpeg"))
    odds = []
    for directory in (bundle_dir, recalibrated):
        predictor = Predictor(load_bundle(directory))
        probability = predictor.predict([predictor.read(film)])[0].probability
        odds.append(np.log(probability) - np.log1p(-probability))
    assert odds[1] - odds[0] == pytest.approx(load_bundle(recalibrated).operating_point.offset)


@pytest.mark.slow
def test_it_records_what_it_was_fitted_on_and_what_that_was_worth(
    bundle_dir: Path, recalibrated: Path, site: Path
) -> None:
    bundle, manifest = load_bundle(recalibrated), scan_tree(site)
    found = bundle.recalibration
    assert found is not None
    assert found["source"] == load_bundle(bundle_dir).label
    assert (found["films"], found["patients"]) == (len(manifest.rows), 2 * PATIENTS)
    assert 0 <= found["p_better"] <= 1
    assert found["classes"] == {
        label: sum(row.label == label for row in manifest.rows) for label in ("NORMAL", "PNEUMONIA")
    }
    assert found["data_digest"] == manifest.digest == bundle.metrics["validation"]["data_digest"]
    for figures in (found["before"], found["after"]):
        assert set(figures) == {"accuracy", "sensitivity", "specificity", "ece", "covered", "decided", "coverage"}
    assert found["after"]["ece"]["value"] < found["before"]["ece"]["value"] + 0.1
    assert set(bundle.metrics) == {"validation"}
    assert not bundle.provenance["reproducibility"]["reproducible"]
    assert any("fitted anew" in reason for reason in bundle.provenance["reproducibility"]["reasons"])
    content = (recalibrated / "bundle.json").read_text() + (recalibrated / CARD).read_text()
    assert str(site) not in content
    assert not re.search(r"person\d|IM-\d", content)


@pytest.mark.slow
def test_what_is_gained_and_lost_is_counted_the_right_way_round(
    bundle_dir: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(shutil.copytree(bundle_dir, tmp_path / "source"))
    bundle = load_bundle(source)
    point = replace(bundle.operating_point, threshold=0.0)  # calls every film pneumonia
    write_bundle(replace(bundle, operating_point=point, version=graph_version(bundle.graph, point)))
    assert recalibrate(source, site, tmp_path / "site", "--rule", "accuracy") == 0
    found = load_bundle(tmp_path / "site").recalibration
    assert found is not None
    after = {name: found["after"][name]["value"] for name in ("sensitivity", "specificity")}
    assert found["gained"] == round(after["specificity"] * found["classes"]["NORMAL"])
    assert found["lost"] == round((1 - after["sensitivity"]) * found["classes"]["PNEUMONIA"])
    assert found["seen"] == 0
    assert ("may be chance" in capsys.readouterr().out) == (found["p_better"] >= 0.05)


@pytest.mark.slow
def test_the_card_says_so(recalibrated: Path, bundle_dir: Path) -> None:
    card = (recalibrated / CARD).read_text()
    assert f"Recalibrated from {load_bundle(bundle_dir).label} on " in card
    assert "### Recalibration" in card
    assert "those of the recalibration" in card
    assert "Recalibrat" not in (bundle_dir / CARD).read_text()


@pytest.mark.slow
def test_it_passes_its_staged_tests_and_takes_the_place_of_its_source(
    bundle_dir: Path, recalibrated: Path, site: Path, tmp_path: Path
) -> None:
    easy = StagedOptions(data=site, min_auroc=0.5, min_sensitivity=0, min_specificity=0)
    result = examine_bundle(recalibrated, easy, load_bundle(bundle_dir))
    assert [check.words for check in result.failures] == []
    words = {check.name: check.words for check in result.checks}
    assert "answered as recorded, 0 decided otherwise" in words["films"]
    assert f"no worse than {load_bundle(bundle_dir).label}" in words["best"]
    registry = LocalRegistry(tmp_path / "registry")
    push_tested(registry, bundle_dir)
    registry.promote("cnn:v1")
    push_tested(registry, recalibrated)
    registry.promote("site:v1")
    holder = registry.holder("best")
    assert holder is not None
    assert holder.reference == "site:v1"


@pytest.mark.slow
def test_once_more_from_the_new_bundle_gives_the_same_point(
    recalibrated: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recalibrate(recalibrated, site, tmp_path / "again") == 0
    first, second = load_bundle(recalibrated), load_bundle(tmp_path / "again")
    assert second.operating_point == first.operating_point
    assert second.version == first.version
    assert second.recalibration is not None
    assert second.recalibration["source"] == first.label
    assert second.recalibration["seen"] == second.recalibration["films"]
    assert f"{second.recalibration['films']} of the films chose the threshold of site:" in capsys.readouterr().out
    assert "of them chose that operating point, too" in (tmp_path / "again" / CARD).read_text()


@pytest.mark.slow
def test_rule_and_coverage_are_the_bundle_s_unless_others_are_asked_for(
    bundle_dir: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recalibrate(bundle_dir, site, tmp_path / "site", "--coverage", "0.8") == 0
    asked, own = load_bundle(tmp_path / "site").operating_point, load_bundle(bundle_dir).operating_point
    assert (asked.rule, asked.coverage) == (own.rule, 0.8)
    said = capsys.readouterr().out
    assert "By patients left out in turn, in 10 folds" in said
    assert re.search(r"\| Accuracy \| 0\.\d{3} .* \| [01]\.\d{3}", said)
    assert re.search(r"\d+ films are called right by it alone, \d+ by cnn:", said)


@pytest.mark.slow
@pytest.mark.parametrize(("split", "of"), [("validation", "tree"), ("test", "site")])
def test_films_that_chose_its_operating_point_are_not_recorded_as_a_test(
    recalibrated: Path,
    split: str,
    of: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(recalibrated, tmp_path / "copy")
    words = ["evaluate", "--bundle", copy, "--data", request.getfixturevalue(of), "--split", split, "--record"]
    with pytest.raises(SystemExit, match="1"):
        main([*map(str, words), "--output", str(tmp_path / "report")])
    assert f"figures of {split} would flatter it" in capsys.readouterr().err
    assert load_bundle(copy).metrics == load_bundle(recalibrated).metrics


@pytest.mark.slow
def test_films_that_chose_nothing_are_recorded(recalibrated: Path, tree: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(recalibrated, tmp_path / "copy"))
    words = ["evaluate", "--bundle", copy, "--data", tree, "--record", "--output", tmp_path / "report"]
    with pytest.raises(SystemExit, match="0"):
        main(list(map(str, words)))
    assert "test" in load_bundle(copy).metrics
    assert "a test folder of which no film was recalibrated on" in (copy / CARD).read_text()


def test_held_out_films_are_known_of_the_tree_of_the_training_alone(
    bundle_dir: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, bundle_dir, site, tmp_path / "site", "--split", "validation")
    assert "is not what cnn:" in said
    assert f"Put films of your own into {site}/test" in said


def test_too_few_films_are_refused_with_the_number_that_is_needed(
    bundle_dir: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, bundle_dir, tree, tmp_path / "site")
    assert "9 films of 9 patients are NORMAL, of which 8 are left when a tenth of the patients is put aside" in said
    assert "19 of 10 patients or more are needed for prediction sets at a coverage of 95%" in said


def test_a_file_under_both_labels_is_named(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = Path(shutil.copytree(site, tmp_path / "twice"))
    film = next((twice / "test" / "NORMAL").iterdir())
    shutil.copy(film, twice / "test" / "PNEUMONIA" / "person999_virus_1.jpeg")
    said = refusal(capsys, REFERENCE, twice, tmp_path / "bundles" / "site")
    assert "person999_virus_1.jpeg" in said
    assert film.name in said
    assert "are the same file" in said


@pytest.mark.slow
def test_names_of_any_form_do_and_copies_count_as_of_one_patient(bundle_dir: Path, site: Path, tmp_path: Path) -> None:
    numbered = tmp_path / "numbered" / "test"
    for label in ("NORMAL", "PNEUMONIA"):  # 0.jpeg of both folders: by its name, one patient with films of both labels
        (numbered / label).mkdir(parents=True)
        for number, film in enumerate(sorted((site / "test" / label).iterdir())):
            shutil.copy(film, numbered / label / f"{number}.jpeg")
    shutil.copy(numbered / "NORMAL" / "0.jpeg", numbered / "NORMAL" / "again.jpeg")
    assert recalibrate(bundle_dir, numbered.parent, tmp_path / "bundle") == 0
    found = load_bundle(tmp_path / "bundle").recalibration
    assert found is not None
    films = {label: len(list((numbered / label).iterdir())) for label in ("NORMAL", "PNEUMONIA")}
    assert found["classes"] == films
    assert found["patients"] == max(films["NORMAL"] - 1, films["PNEUMONIA"])


def test_phantoms_tell_nothing_of_a_network_for_people(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantoms = Path(shutil.copytree(site, tmp_path / "phantoms"))
    (phantoms / SYNTHETIC_MARKER).write_text("{}")
    assert "holds synthetic phantoms" in refusal(capsys, REFERENCE, phantoms, tmp_path / "bundles" / "site")


def test_a_film_that_can_not_be_decoded_is_named(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(shutil.copytree(site, tmp_path / "broken"))
    film = sorted(broken.rglob("*.jpeg"))[3]
    film.write_bytes(film.read_bytes()[:800])
    said = refusal(capsys, REFERENCE, broken, tmp_path / "bundles" / "site")
    assert "1 of " in said
    assert film.name in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rule", "best"), "is no rule"),
        (("--coverage", "1"), "The coverage 1.0 is not between"),
        (("--name", "a/b"), "a/b"),
        (("--name", ""), "name"),
    ],
)
def test_what_can_not_be_asked_for_is_said(
    options: tuple[str, ...], words: str, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, REFERENCE, site, tmp_path / "site", *options)


def test_the_source_and_other_folders_are_not_replaced(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(shutil.copytree(REFERENCE, tmp_path / "source"))
    assert "is the bundle that is recalibrated" in refusal(capsys, source, site, source)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "is no bundle" in refusal(capsys, REFERENCE, site, tmp_path / "mine")
    assert "notes.txt is a file" in refusal(capsys, REFERENCE, site, tmp_path / "mine" / "notes.txt" / "site")


@pytest.mark.slow
def test_of_three_classes_the_kinds_have_to_be_told_by_the_names(
    bundle_dir: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = Path(shutil.copytree(bundle_dir, tmp_path / "three"))
    bundle = load_bundle(three)
    point = replace(bundle.operating_point, set_thresholds=(0.3, 0.3, 0.3))
    write_bundle(replace(bundle, classes=("NORMAL", "BACTERIA", "VIRUS"), operating_point=point))
    untold = Path(shutil.copytree(site, tmp_path / "untold"))
    film = next((untold / "test" / "PNEUMONIA").iterdir())
    film.rename(film.with_name("chest.jpeg"))
    said = refusal(capsys, three, untold, tmp_path / "bundles" / "site")
    assert "The names of 1 of " in said
    assert "NORMAL, BACTERIA, VIRUS" in said


def test_it_needs_no_torch_and_keeps_the_engines(site: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from pneumonia.cli import main; main(sys.argv[1:])"
    words = ["recalibrate", "--bundle", REFERENCE, "--data", site, "--output", tmp_path / "site", "--coverage", "0.9"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    old, new = load_bundle(REFERENCE), load_bundle(tmp_path / "site")
    assert new.engines == old.engines
    assert new.quantized_graph is not None
    assert new.version == graph_version(new.graph, new.operating_point, new.quantized_graph)


def test_a_tree_of_films_that_its_input_check_turns_away_is_pointed_out(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = Path(shutil.copytree(site, tmp_path / "inverted"))
    for film in turned.rglob("*.jpeg"):
        ImageOps.invert(Image.open(film)).save(film, quality=90)
    assert recalibrate(REFERENCE, turned, tmp_path / "site") == 0
    said = capsys.readouterr().out
    found = load_bundle(tmp_path / "site").recalibration
    assert found is not None
    assert f"turns away {found['refused']} of {found['films']} films" in said
