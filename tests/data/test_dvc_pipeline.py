"""The stages of dvc.yaml, run by DVC in a checkout of their own."""

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pneumonia.bundle import load_bundle

from .conftest import PROJECT, Run, commit

STAGES = ["index", "train", "export", "evaluate"]
ENTRIES = {
    "index": "pneumonia.data.command",
    "train": "pneumonia.training.cli",
    "export": "pneumonia.export",
    "evaluate": "pneumonia.evaluation.command",
}
# What finds a command, says what is wrong, signs in to a tracker, or finds a bundle by its name changes no result.
IMMATERIAL = re.compile(r"pneumonia/(__main__|cli|errors|wandb_account)\.py|.*/__init__\.py|pneumonia/registry/.*")
PIPELINE = Path("artifacts/pipeline")


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, committed: Path, run_in: Run) -> Path:
    """A checkout after its first `dvc repro`, committed with its dvc.lock."""
    checkout = Path(shutil.copytree(committed, tmp_path_factory.mktemp("pipeline") / "first"))
    assert stages_run(run_in(checkout, "dvc", "repro").stdout) == STAGES
    commit(run_in, checkout)
    return checkout


@pytest.fixture
def checkout(reproduced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reproduced, tmp_path / "checkout"))


@pytest.mark.slow
def test_repro_trains_exports_and_evaluates_and_a_second_time_does_nothing(reproduced: Path, run_in: Run) -> None:
    exported, measured = (load_bundle(reproduced / PIPELINE / name) for name in ("exported", "bundle"))
    assert measured.version == exported.version
    assert list(exported.metrics) == ["validation"]
    assert list(measured.metrics) == ["validation", "test"]
    assert measured.provenance["reproducibility"] == {"reproducible": True, "reasons": []}
    metrics = json.loads(run_in(reproduced, "dvc", "metrics", "show", "--json").stdout)
    shown = metrics[""]["data"][str(PIPELINE / "metrics.json")]["data"]["test"]
    assert shown["auroc"] == measured.metrics["test"]["auroc"]["value"]
    assert not stages_run(run_in(reproduced, "dvc", "repro").stdout)
    assert not run_in(reproduced, "git", "status", "--porcelain").stdout


@pytest.mark.slow
def test_the_lock_ties_the_bundle_to_data_code_and_settings(reproduced: Path) -> None:
    lock = yaml.safe_load((reproduced / "dvc.lock").read_text())["stages"]
    assert lock["train"]["params"]["configs/debug.yaml"]["trainer"]["max_epochs"] == 2
    data = {stage: {dep["path"]: dep["md5"] for dep in lock[stage]["deps"]}["data/chest_xray"] for stage in STAGES}
    assert len(set(data.values())) == 1
    made = {out["path"]: out["md5"] for out in lock["export"]["outs"]}["artifacts/pipeline/exported"]
    assert {dep["path"]: dep["md5"] for dep in lock["evaluate"]["deps"]}["artifacts/pipeline/exported"] == made


@pytest.mark.slow
def test_the_registry_shows_that_the_bundle_can_be_made_again(
    reproduced: Path, run_in: Run, command: Callable[..., Any], tmp_path: Path
) -> None:
    registry = ("registry", "--root", tmp_path / "registry")
    assert command(*registry, "push", reproduced / PIPELINE / "bundle").returncode == 0
    shown = command(*registry, "show", "candidate").stdout
    first = run_in(reproduced, "git", "rev-list", "--max-parents=0", "HEAD").stdout
    tracked = yaml.safe_load((reproduced / "data.dvc").read_text())["outs"][0]["md5"]
    assert f"made again  yes: commit {first[:12]}, data.dvc {tracked}" in shown


@pytest.mark.slow
def test_plots_are_drawn_from_the_run_and_the_report(reproduced: Path, run_in: Run, tmp_path: Path) -> None:
    run_in(reproduced, "dvc", "plots", "show", "--out", tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "Loss by step" in page
    assert "AUROC on held-out patients by step" in page
    assert "PNEUMONIA" in page  # the cells of the confusion matrix


@pytest.mark.slow
def test_make_repro_brings_films_that_are_missing_and_makes_nothing_that_is_there(
    checkout: Path, make_in: Run, run_in: Run, tree: Path
) -> None:
    shutil.rmtree(checkout / "data")
    said = make_in(checkout, "repro", f"PNEUMONIA_DATA_SOURCE={tree}").stdout
    assert "Data and pipelines are up to date." in said
    assert not run_in(checkout, "git", "status", "--porcelain").stdout


@pytest.mark.slow
def test_an_edit_of_the_page_makes_nothing_stale(checkout: Path, run_in: Run) -> None:
    with (checkout / "pneumonia" / "demo" / "page.py").open("a") as file:
        file.write("# edited\n")
    assert "up to date" in run_in(checkout, "dvc", "status").stdout
    with (checkout / "pneumonia" / "models" / "resnet.py").open("a") as file:
        file.write("# edited\n")
    status = json.loads(run_in(checkout, "dvc", "status", "--json").stdout)
    assert {"train", "export", "evaluate"} == set(status)


@pytest.mark.slow
def test_an_edit_of_the_config_makes_the_training_stale(checkout: Path, run_in: Run) -> None:
    config = checkout / "configs" / "debug.yaml"
    config.write_text(config.read_text().replace("max_epochs: 2", "max_epochs: 1"))
    assert list(json.loads(run_in(checkout, "dvc", "status", "--json").stdout)) == ["train"]


@pytest.mark.slow
def test_a_changed_image_reruns_what_depends_on_it_and_shows_in_data_dvc(checkout: Path, run_in: Run) -> None:
    before = load_bundle(checkout / PIPELINE / "bundle").provenance["data"]["digest"]
    films = sorted((checkout / "data" / "chest_xray" / "train" / "NORMAL").iterdir())
    films[0].unlink()
    shutil.copy(films[1], films[0])
    assert stages_run(run_in(checkout, "dvc", "repro").stdout) == STAGES
    assert "data.dvc" in run_in(checkout, "git", "diff", "--name-only").stdout
    provenance = load_bundle(checkout / PIPELINE / "bundle").provenance
    assert provenance["data"]["digest"] != before
    assert provenance["reproducibility"]["reproducible"] is False
    assert "trained with uncommitted changes" in provenance["reproducibility"]["reasons"]


@pytest.mark.slow
def test_an_experiment_reruns_what_its_settings_change_and_is_kept(checkout: Path, run_in: Run) -> None:
    done = run_in(checkout, "dvc", "exp", "run", "--name", "held-out", "--set-param", "evaluate.split=validation")
    assert stages_run(done.stdout) == ["evaluate"]
    assert "held-out" in run_in(checkout, "dvc", "exp", "list").stdout
    assert list(json.loads((checkout / PIPELINE / "metrics.json").read_text())) == ["validation"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_runs_and_on_no_web_page(stage: str) -> None:
    deps = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    for module in modules_run(ENTRIES[stage]):
        depended = any(module == dep or module.startswith(f"{dep}/") for dep in deps)
        assert depended or IMMATERIAL.fullmatch(module), f"{module} is run by {stage}: add it to dvc.yaml"
    assert not any(dep in ("pneumonia", "pneumonia/serving", "pneumonia/demo") for dep in deps)
    assert all((PROJECT / dep).exists() for dep in deps if dep.startswith("pneumonia"))


def modules_run(entry: str) -> set[str]:
    """The files of the package that a module imports, directly or by others, anywhere in their code."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):
            module = Path(*parts[:length])
            for path in (module.with_suffix(".py"), module / "__init__.py"):
                if parts[0] == "pneumonia" and (PROJECT / path).is_file() and path.as_posix() not in found:
                    found.add(path.as_posix())
                    waiting += imported(PROJECT / path)
    return found


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
