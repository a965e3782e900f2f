"""What runs on machines in the cloud, run here: train_and_keep.sh for real, vm_train.sh up to the switch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pneumonia.bundle import load_bundle
from tests.deploy.conftest import GCP, PROJECT

if TYPE_CHECKING:
    from tests.deploy.conftest import Cloud


def job(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """train_and_keep.sh as Vertex AI runs it: `bash -c SCRIPT` with variables, in the image's folder."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    command = commands / "pneumonia"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pneumonia "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    known = {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT), "KEEP": str(folder / "kept")}
    return subprocess.run(
        ["bash", "-c", (GCP / "train_and_keep.sh").read_text(encoding="utf-8")],
        env={**os.environ, **known, **variables},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_job_goes_on_from_what_another_one_kept_and_keeps_run_bundle_and_report(
    linux: None, tmp_path: Path, run: Path, tree: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(run, kept / "debug")
    ran = job(
        tmp_path,
        SOURCE=str(tree),
        CONFIG="configs/debug.yaml",
        WORK=str(tmp_path / "work"),
        REGISTRY=str(tmp_path / "registry"),
        WANDB="yes",
        WANDB_MODE="offline",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # The other one had trained to its end: nothing was left to fit.
    best = Path("checkpoints", "best.ckpt")
    assert (kept / "debug" / best).read_bytes() == (run / best).read_bytes()
    assert load_bundle(kept / "bundles" / "debug").name == "debug"
    assert json.loads((kept / "reports" / "debug" / "report.json").read_text(encoding="utf-8"))["n"] > 0
    assert any((tmp_path / "registry").iterdir())
    assert list((tmp_path / "work" / "wandb").rglob("*.wandb"))


def test_a_job_that_is_not_told_what_to_do_fails_at_once(linux: None, tmp_path: Path) -> None:
    ran = job(tmp_path, SOURCE="", CONFIG="")
    assert ran.returncode != 0
    assert "SOURCE" in ran.stderr


@pytest.fixture
def machine(cloud: "Cloud") -> "Cloud":
    """A checkout on a machine, where `make train` has made something or will fail."""
    for part in ("runs", "bundles"):
        (cloud.folder / "artifacts" / part / "cnn").mkdir(parents=True)
    return cloud


@pytest.mark.parametrize(("code", "outcome"), [(0, "succeeded"), (2, "failed with 2")])
def test_a_machine_keeps_what_there_is_and_stops_whatever_became_of_the_training(
    machine: "Cloud", code: int, outcome: str
) -> None:
    (machine.folder / "exits").write_text(json.dumps({"make": code}))
    machine.command(["bash", str(GCP / "vm_train.sh"), "configs/cnn.yaml", "gs://bucket/vm/cnn"])
    calls = machine.calls()
    assert calls[0] == ["make", "train", "CONFIG=configs/cnn.yaml"]
    kept = [call[-1] for call in calls if call[:3] == ["gcloud", "storage", "rsync"]]
    assert kept == ["gs://bucket/vm/cnn/runs/cnn", "gs://bucket/vm/cnn/bundles/cnn"]
    assert (machine.folder / "outcome").read_text().strip() == outcome
    assert calls[-2][:3] == ["gcloud", "storage", "cp"]
    assert calls[-1] == ["sudo", "shutdown", "-h", "now"]


def test_a_machine_stops_even_when_nothing_can_be_kept(machine: "Cloud") -> None:
    (machine.folder / "exits").write_text(json.dumps({"gcloud": 1}))
    machine.command(["bash", str(GCP / "vm_train.sh"), "configs/cnn.yaml", "gs://bucket/vm/cnn"])
    assert machine.calls()[-1] == ["sudo", "shutdown", "-h", "now"]
