"""What Weights & Biases gets of a run: read back from the run file of a real `pneumonia fit`, offline."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import Namespace

from pneumonia.errors import ConfigError, MissingLibraryError
from pneumonia.training.charts import precision_recall_points, roc_points, telling_samples
from pneumonia.training.cli import main, portable
from pneumonia.training.wandb_settings import prepare_loggers, read_run
from tests.wandb_server.run_file import records
from tests.wandb_server.server import wandb_server

BRIEF = ("--trainer.limit_train_batches=2", "--trainer.max_epochs=1")
OVERLAY = f"--config={Path(__file__).parents[2] / 'configs' / 'wandb.yaml'}"
NO_ACCOUNT = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "NETRC")

TrainingWords = Callable[..., list[str]]


def checkpoint(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return content


def run_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))


def kind(record: Any) -> str:
    return str(record.WhichOneof("record_type"))


def artifacts(made: Iterable[Any]) -> dict[str, Any]:
    return {record.artifact.type: record.artifact for record in made if kind(record) == "artifact"}


def logged(made: Iterable[Any]) -> dict[str, list[Any]]:
    """The values of each key of the run's history, in order."""
    history: dict[str, list[Any]] = {}
    for record in made:
        for item in record.history.item if kind(record) == "history" else []:
            history.setdefault([*item.nested_key, item.key][0], []).append(json.loads(item.value_json))
    return history


def configured(made: Iterable[Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for record in made:
        for item in record.config.update if kind(record) == "config" else []:
            config[[*item.nested_key, item.key][0]] = json.loads(item.value_json)
    return config


def fit(training_words: TrainingWords, folder: Path, *options: str) -> Path:
    """A run of two steps and its W&B record beside it; the run's folder."""
    words = training_words("fit", folder / "run", OVERLAY, f"--trainer.logger.init_args.save_dir={folder}")
    main([*words, *BRIEF, *options])
    return folder / "run"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Path]:
    """Where W&B keeps what artifacts are made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("staged")))
        yield Path(os.environ["WANDB_DATA_DIR"])


@pytest.fixture(scope="module")
def tracked(training_words: TrainingWords, tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """The folder of a run that was tracked offline."""
    return fit(training_words, tmp_path_factory.mktemp("tracked"))


@pytest.fixture(scope="module")
def made(tracked: Path) -> list[Any]:
    """The records of its run file."""
    (path,) = run_files(tracked.parent)
    return records(path)


@pytest.mark.slow
def test_the_run_file_has_the_resolved_config(made: list[Any], tree: Path) -> None:
    config = configured(made)
    assert config["trainer"]["max_epochs"] == 1
    assert config["model"]["network"]["class_path"] == "pneumonia.models.SmallResNet"
    assert config["data"]["root"] == tree.name
    assert len(config["data"]["digest"]) == 64


@pytest.mark.slow
def test_the_run_file_has_metrics_charts_and_system_figures(made: list[Any]) -> None:
    history = logged(made)
    assert {"train/loss", "val/auroc", "val/loss", "learning_curves", "confusion_matrix_table", "roc_table"} <= set(
        history
    )
    assert any(kind(record) == "environment" for record in made)
    assert any(kind(record) == "stats" for record in made)


@pytest.mark.slow
def test_the_manifest_is_an_input_of_the_run_and_tells_no_name(made: list[Any], tree: Path) -> None:
    manifest = artifacts(made)["dataset"]
    assert manifest.use_after_commit
    assert json.loads(manifest.metadata)["synthetic"] is False
    (entry,) = manifest.manifest.contents
    with Path(entry.local_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(tree.rglob("*.jpeg")))
    assert {row["used_for"] for row in rows} == {"train", "validation", "test"}
    assert len({row["patient"] for row in rows}) < len(rows)


@pytest.mark.slow
def test_nothing_that_is_sent_names_a_patient_or_shows_a_film(tracked: Path, made: list[Any], data_dir: Path) -> None:
    (path,) = run_files(tracked.parent)
    sent = [path, *(file for file in path.parent.rglob("*") if file.is_file())]
    sent += [Path(entry.local_path) for artifact in artifacts(made).values() for entry in artifact.manifest.contents]
    assert not [file for file in sent if re.search(rb"person\d|IM-\d{4}", file.read_bytes())]
    assert not [file for file in sent if file.read_bytes().startswith((b"\x89PNG", b"\xff\xd8\xff"))]


@pytest.mark.slow
def test_pictures_are_sent_when_they_are_asked_for(
    training_words: TrainingWords, tmp_path: Path, data_dir: Path
) -> None:
    fit(training_words, tmp_path, "--tracking.films=true", "--tracking.samples=3")
    (path,) = run_files(tmp_path)
    tables = [
        artifact
        for artifact in (record.artifact for record in records(path) if kind(record) == "artifact")
        if artifact.name.endswith("-samples")
    ]
    pictures = [entry.path for entry in tables[0].manifest.contents if entry.path.endswith(".png")]
    assert 1 <= len(pictures) <= 3


@pytest.mark.slow
def test_checkpoint_and_folder_say_where_the_run_is_and_how_it_was_configured(tracked: Path, made: list[Any]) -> None:
    (run,) = [record.run for record in made if kind(record) == "run"]
    provenance = checkpoint(tracked)["provenance"]
    assert provenance["run"]["id"] == run.run_id
    assert provenance["run"]["project"] == "pneumonia"
    assert provenance["run"]["url"] is None
    assert provenance["run"]["config_artifact"] == artifacts(made)["config"].name
    assert read_run(tracked) == provenance["run"]
    assert provenance["config"]["trainer"]["max_epochs"] == 1
    assert "model" not in provenance["config"]  # it is there already


@pytest.mark.slow
def test_a_run_that_is_not_tracked_records_its_config_and_no_run(run: Path) -> None:
    provenance = checkpoint(run)["provenance"]
    assert provenance["config"]["trainer"]["max_epochs"] == 2
    assert "run" not in provenance


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_wandb_too(tracked: Path, training_words: TrainingWords, tmp_path: Path) -> None:
    words = training_words("validate", tracked, OVERLAY, f"--trainer.logger.init_args.save_dir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "pneumonia", *words, "--ckpt_path=last"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = run_files(tmp_path)
    assert path.stem == f"run-{read_run(tracked)['id']}"


@pytest.mark.slow
def test_a_run_that_is_disabled_is_not_recorded(
    training_words: TrainingWords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    try:
        assert "run" not in checkpoint(fit(training_words, tmp_path))["provenance"]
    finally:
        wandb.teardown()


@pytest.mark.slow
def test_a_key_that_is_refused_is_an_error_that_says_what_to_do(
    training_words: TrainingWords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    with wandb_server() as server:
        for name, value in {**server.environment, "WANDB_API_KEY": "f" * 40}.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()
        try:
            with pytest.raises(ConfigError, match=r"W&B did not take the run: .* WANDB_MODE=offline keeps it"):
                fit(training_words, tmp_path)
        finally:
            wandb.teardown()
    assert server.refused


@pytest.mark.slow
def test_without_an_account_a_terminal_is_not_asked_for_a_login(training_words: TrainingWords, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="Windows has none")
    words = training_words("fit", tmp_path / "run", OVERLAY, f"--trainer.logger.init_args.save_dir={tmp_path}", *BRIEF)
    environment = {name: value for name, value in os.environ.items() if name not in NO_ACCOUNT}
    terminal, theirs = pty.openpty()  # W&B asks only where somebody could answer
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "pneumonia", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "HOME": str(tmp_path)},
            cwd=tmp_path,
        )
        os.close(theirs)
        shown = _read_to_end(screen)
        assert process.wait() == 0, shown
    assert "this run is kept offline" in shown
    assert "Enter your choice" not in shown
    assert run_files(tmp_path)


def _read_to_end(screen: Any) -> str:
    shown = b""
    while True:
        try:
            part = screen.read(65536)
        except OSError:  # what Linux says when the other side is closed
            part = b""
        if not part:
            return shown.decode(errors="replace")
        shown += part


def test_a_logger_that_names_no_project_gets_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    settings = Namespace(save_dir=str(tmp_path / "new"), project=None, id=None, version=None, offline=True)
    logger = Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=settings)
    prepare_loggers([logger, Namespace(class_path="lightning.pytorch.loggers.CSVLogger")], tmp_path, known_run=True)
    assert settings.project == "pneumonia"
    assert Path(settings.save_dir).is_dir()
    assert settings.id is None


def test_a_missing_library_is_named_with_what_installs_it(
    training_words: TrainingWords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'pneumonia\[tracking\]'"):
        main(training_words("fit", tmp_path / "run", OVERLAY))


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(0, 20))
def test_samples_are_distinct_films_and_begin_with_the_most_wrong(answers: list[tuple[int, float]], count: int) -> None:
    labels, probabilities = np.array([label for label, _ in answers]), np.array([p for _, p in answers])
    chosen = telling_samples(labels, probabilities, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(answers))
    if chosen:
        assert abs(labels - probabilities)[chosen[0]] == abs(labels - probabilities).max()


def test_curves_of_many_films_are_thinned_and_keep_their_ends() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 5000), rng.random(5000)
    points = roc_points(labels, probabilities)
    assert len(points) == 400
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert precision_recall_points(labels, probabilities)[-1][0] == 1.0
    assert roc_points(np.ones(3, dtype=int), np.ones(3)) == precision_recall_points(np.zeros(3, dtype=int), np.ones(3))


def test_a_portable_config_keeps_of_absolute_paths_the_name() -> None:
    config = {"data": {"root": "/home/me/chest_xray", "cache_dir": "artifacts/cache"}, "callbacks": [{"path": "/a/b"}]}
    assert portable(config) == {
        "data": {"root": "chest_xray", "cache_dir": "artifacts/cache"},
        "callbacks": [{"path": "b"}],
    }
