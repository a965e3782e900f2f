"""A run that is killed and resumed ends bit for bit as the one that was not: weights, averages, optimiser, history."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from pneumonia.training.cli import main

EPOCHS, STEPS = 4, 15
# What the reference config trains with, on a network that takes milliseconds a step.
SETTINGS = [
    f"--trainer.max_epochs={EPOCHS}",
    "--trainer.limit_train_batches=null",
    "--trainer.precision=bf16-mixed",
    "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging",
    "--trainer.callbacks.decay=0.9",
    "--model.network.init_args.dropout=0.3",
    "--model.learning_rate=0.01",
    "--best_checkpoint.monitor=val/loss",
    "--best_checkpoint.mode=min",
    "--data.batch_size=4",
    "--data.image_size=32",
]

pytestmark = pytest.mark.slow
Fit = Callable[..., BaseProcess]


@pytest.fixture(scope="module")
def fit(training_words: Callable[..., list[str]]) -> Iterator[Fit]:
    """Start `pneumonia fit` in a process of its own, forked from one that has imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pneumonia.training.cli"])
    started: list[BaseProcess] = []

    def start(folder: Path, *options: str) -> BaseProcess:
        process = context.Process(target=main, args=(training_words("fit", folder, *SETTINGS, *options),))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def uninterrupted(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = fit(folder)
    process.join()
    assert process.exitcode == 0
    return folder


def plain(value: Any, folder: Path) -> Any:
    """A checkpoint without what may differ: the run's folder in paths, and a score that Lightning does not restore."""
    if isinstance(value, dict):
        return {plain(key, folder): plain(item, folder) for key, item in value.items() if key != "current_score"}
    if isinstance(value, list | tuple):
        return [plain(item, folder) for item in value]
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return value.replace(str(folder), "") if isinstance(value, str) else value


def assert_same_run(folder: Path, other: Path) -> None:
    for name in ("last", "best"):
        ours, theirs = (
            plain(torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True), run) for run in (folder, other)
        )
        assert ours.keys() == theirs.keys()
        for key in ours:  # one at a time: a difference is named by its key
            assert ours[key] == theirs[key], f"{name}.ckpt: {key}"
    assert (folder / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


def last_of(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def wait_for(process: BaseProcess, happened: Callable[[], bool]) -> None:
    while process.is_alive() and not happened():
        time.sleep(0.0005)


def finish(fit: Fit, folder: Path) -> None:
    process = fit(folder, "--ckpt_path=last")
    process.join()
    assert process.exitcode == 0


def test_the_checkpoint_holds_what_the_comparison_is_about(uninterrupted: Path) -> None:
    content = torch.load(last_of(uninterrupted), weights_only=True)
    assert content["global_step"] == EPOCHS * STEPS
    assert {"state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"} <= set(content)
    averaged, current = content["state_dict"], content["current_model_state"]
    assert any(not torch.equal(averaged[key], current[key]) for key in averaged)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_somewhere_in_an_epoch_is_resumed(
    fit: Fit, uninterrupted: Path, tmp_path: Path, seed: int
) -> None:
    folder, chance = tmp_path / "run", random.Random(seed)
    process = fit(folder)
    wait_for(process, last_of(folder).exists)
    if chance.random() < 0.5:  # or an epoch later
        first = last_of(folder).stat().st_mtime_ns
        wait_for(process, lambda: last_of(folder).stat().st_mtime_ns != first)
    time.sleep(chance.uniform(0.0, 0.08))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finish(fit, folder)
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_run_killed_while_a_checkpoint_is_written_is_resumed(
    fit: Fit, uninterrupted: Path, tmp_path: Path, checkpoint: str
) -> None:
    folder = tmp_path / "run"
    process = fit(folder)
    wait_for(process, last_of(folder).exists)
    while process.is_alive() and not list(folder.glob(f"checkpoints/.{checkpoint}*")):
        pass  # without a pause: it is written within milliseconds
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(folder.glob("checkpoints/.*.tmp")), "killed a moment too late"
    assert torch.load(last_of(folder), weights_only=True)["global_step"] < EPOCHS * STEPS
    finish(fit, folder)
    assert_same_run(folder, uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(fit: Fit, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = fit(folder)
    wait_for(process, (folder / "config.yaml").exists)
    process.kill()
    process.join()
    assert not last_of(folder).exists()
    finish(fit, folder)
    assert_same_run(folder, uninterrupted)


def test_a_run_killed_again_and_again_is_resumed(fit: Fit, uninterrupted: Path, tmp_path: Path) -> None:
    folder, chance = tmp_path / "run", random.Random(0)
    process = fit(folder)
    for _ in range(2):
        before = last_of(folder).stat().st_mtime_ns if last_of(folder).exists() else 0
        wait_for(
            process, lambda before=before: last_of(folder).exists() and last_of(folder).stat().st_mtime_ns > before
        )  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.08))
        process.kill()
        process.join()
        process = fit(folder, "--ckpt_path=last")
    process.join()
    assert process.exitcode == 0
    assert_same_run(folder, uninterrupted)


def test_an_interrupted_run_is_resumed(fit: Fit, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = fit(folder)
    wait_for(process, last_of(folder).exists)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode != 0
    finish(fit, folder)
    assert_same_run(folder, uninterrupted)
