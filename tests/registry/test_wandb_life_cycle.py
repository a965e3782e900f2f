"""A model's life in Weights & Biases, through its real client: an offline run, sent later, to what a server answers by.

Each test goes on where the one before has left the registry.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.server_process import RunningServer, serve
from pneumonia.bundle import graph_version, load_bundle, write_bundle
from pneumonia.cli import main as pneumonia
from pneumonia.export import main as export
from pneumonia.registry.base import STAGED
from tests.wandb_server.fixtures import pointed_to
from tests.wandb_server.run_file import records
from tests.wandb_server.server import WandbServer, wandb_server
from tests.wandb_server.store import Run

pytestmark = pytest.mark.slow

REGISTRY = "wandb://team/model"
# What a network of seconds on 94 films reaches is not the matter here.
EASY = ("--min-auroc", "0.5", "--min-sensitivity", "0", "--min-specificity", "0")
OVERLAY = f"--config={Path(__file__).parents[2] / 'configs' / 'wandb.yaml'}"


@dataclass(frozen=True)
class Trained:
    """A run that was tracked offline, and its bundle."""

    folder: Path
    bundle: Path

    @property
    def offline(self) -> Path:
        (found,) = self.folder.glob("wandb/offline-run-*")
        return found


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, training_words: Callable[..., list[str]], tree: Path, cache_dir: Path
) -> Trained:
    from pneumonia.training.cli import main

    folder = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(folder / "staged"))
        main(training_words("fit", folder / "run", OVERLAY, f"--trainer.logger.init_args.save_dir={folder}"))
    words = ["--checkpoint", folder / "run" / "checkpoints" / "best.ckpt", "--data", tree, "--output", folder / "cnn"]
    export([*map(str, words), "--cache-dir", str(cache_dir)])
    return Trained(folder, folder / "cnn")


@pytest.fixture(scope="module")
def cloud(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server() as server:
        server.store.add_registry("model")
        with pointed_to(server, tmp_path_factory.mktemp("online")):
            yield server
        assert server.refused == []


@pytest.fixture(scope="module")
def server(cloud: WandbServer) -> Iterator[RunningServer]:
    """`pneumonia serve` by W&B's alias."""
    words = [sys.executable, "-m", "pneumonia", "serve", "--registry", f"{REGISTRY}:best", "--workers", "1"]
    with serve(lambda port: [*words, "--port", str(port)]) as running:
        yield running


@pytest.fixture
def registry(cloud: WandbServer, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`pneumonia registry`: what it prints; it has to end well unless another code is given."""

    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            pneumonia(["registry", "--root", REGISTRY, *map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out if code == 0 else shown.err

    return run


def the_run(cloud: WandbServer, trained: Trained) -> Run:
    run = cloud.store.run("team", "pneumonia", load_bundle(trained.bundle).provenance["run"]["id"])
    assert run is not None
    return run


def info(server: RunningServer) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{server.port}/model/info").json()
    return answer


def reloaded(server: RunningServer, version: str) -> dict[str, Any]:
    """What the server says of its bundle after SIGHUP, once it is this version."""
    server.process.send_signal(signal.SIGHUP)
    for _ in range(600):
        said = info(server)
        if said["version"] == version:
            return said
        time.sleep(0.1)
    raise AssertionError(f"still {said['version']}")


def test_a_run_made_offline_is_sent_by_wandb_sync(cloud: WandbServer, trained: Trained) -> None:
    assert records(next(trained.offline.glob("*.wandb")))
    words = [sys.executable, "-m", "wandb", "sync", str(trained.offline)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = the_run(cloud, trained)
    assert run.state == "finished"
    assert any("val/auroc" in row for row in run.history())
    assert run.configuration()["data"]["digest"] == load_bundle(trained.bundle).provenance["data"]["digest"]
    assert [artifact.sequence.name for artifact in run.inputs] == ["manifest"]


def test_its_bundle_is_pushed_as_candidate_of_that_run(
    cloud: WandbServer, trained: Trained, registry: Callable[..., str]
) -> None:
    before = the_run(cloud, trained).configuration(), the_run(cloud, trained).history()
    assert registry("push", trained.bundle).strip() == "pushed cnn:v0 ['candidate']"
    run = the_run(cloud, trained)
    made = next(artifact for artifact in run.outputs if artifact.sequence.type == "model")
    assert json.loads(made.metadata)["bundle_version"] == load_bundle(trained.bundle).version
    assert 0 <= json.loads(made.metadata)["validation"]["auroc"] <= 1
    assert run.configuration()["data"] == before[0]["data"]
    assert run.history() == before[1]
    assert [artifact.sequence.name for artifact in run.inputs] == ["manifest"]


def test_it_is_not_promoted_before_its_staged_tests(registry: Callable[..., str]) -> None:
    assert "not promoted" in registry("promote", "cnn:candidate", code=1)
    assert "passed" in registry("test", "cnn:candidate", *EASY)
    registry("promote", "cnn:candidate")
    assert "candidate best" in registry("list")


def test_one_command_leads_from_a_prediction_s_model_to_run_config_and_commit(
    trained: Trained, registry: Callable[..., str]
) -> None:
    bundle = load_bundle(trained.bundle)
    shown = json.loads(registry("show", bundle.label, "--json"))
    assert shown["reference"] == "cnn:v0"
    assert shown["run"] == bundle.provenance["run"]
    assert shown["git"] == bundle.provenance["git"]
    assert shown["data"]["digest"] == bundle.provenance["data"]["digest"]
    assert shown[STAGED]["passed"] is True
    assert [event["action"] for event in shown["promotions"]] == ["promote"]


def test_a_server_answers_by_the_alias_and_says_where_the_bundle_is_from(
    server: RunningServer, trained: Trained, tree: Path
) -> None:
    bundle, said = load_bundle(trained.bundle), info(server)
    assert (said["version"], said["alias"]) == (bundle.version, "best")
    assert said["wandb_artifact"]["name"] == "team-org/wandb-registry-model/cnn"
    assert said["wandb_artifact"]["version"] == "v0"
    assert said["wandb_artifact"]["validation_accuracy"] == bundle.metrics["validation"]["accuracy"]["value"]
    assert said["wandb_artifact"]["best_val_loss"] > 0
    film = next(tree.glob("test/PNEUMONIA/*")).read_bytes()
    answer = httpx.post(f"http://127.0.0.1:{server.port}/predict", files={"file": film}, timeout=60).json()
    assert answer["model"] == bundle.label


def test_what_is_promoted_or_rolled_back_is_served_without_a_restart(
    server: RunningServer, trained: Trained, registry: Callable[..., str], tmp_path: Path
) -> None:
    first = load_bundle(trained.bundle)
    other = load_bundle(shutil.copytree(trained.bundle, tmp_path / "other"))
    point = replace(other.operating_point, threshold=other.operating_point.threshold + 1e-6)
    other = replace(other, operating_point=point, version=graph_version(other.graph, point))
    write_bundle(other)
    assert "promoted cnn:v1 to best" in registry("push", other.directory, "--promote", *EASY)
    assert reloaded(server, other.version)["wandb_artifact"]["version"] == "v1"
    registry("rollback", "--reason", "to see that it works")
    assert reloaded(server, first.version)["wandb_artifact"]["version"] == "v0"
    assert "rollback cnn:v0 best (before: cnn:v1): to see that it works" in registry("history")


def test_a_run_is_sent_while_it_trains(
    cloud: WandbServer, training_words: Callable[..., list[str]], tmp_path: Path
) -> None:
    from pneumonia.training.cli import main

    brief = ("--trainer.limit_train_batches=2", "--trainer.max_epochs=1")
    words = training_words("fit", tmp_path / "run", OVERLAY, f"--trainer.logger.init_args.save_dir={tmp_path}", *brief)
    main(words)
    said = json.loads((tmp_path / "run" / "wandb.json").read_text())
    assert said["entity"] == "team"
    assert said["url"] == f"{cloud.url}/team/pneumonia/runs/{said['id']}"
    run = cloud.store.run("team", "pneumonia", said["id"])
    assert run is not None
    assert run.state == "finished"
    assert {"val/auroc", "train/loss", "learning_curves"} <= {key for row in run.history() for key in row}
    assert [artifact.sequence.name for artifact in run.inputs] == ["manifest"]
