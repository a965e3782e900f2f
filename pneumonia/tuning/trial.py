"""One trial: `pneumonia fit` in a process of its own, which reports to the study after each epoch."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import optuna
from optuna_integration import PyTorchLightningPruningCallback

from pneumonia.errors import PneumoniaError
from pneumonia.training.cli import main
from pneumonia.training.history import read_metrics
from pneumonia.tuning.search_space import OBJECTIVE, SearchSpace
from pneumonia.tuning.storage import open_study

LOG = "log.txt"


@dataclass(frozen=True)
class Job:
    """What a trial's process needs to know.

    Args:
        folder: the run's.
        storage: the study's file.
        trial_id: the storage's number of the trial.
        options: of `pneumonia fit`.
        space: decides when a trial is given up.
        threads: of PyTorch; 0 leaves them.
    """

    folder: Path
    storage: Path
    trial_id: int
    options: list[str]
    space: SearchSpace
    threads: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `complete` with the objective's `value`, `pruned`, or `failed`; `reason` tells why."""

    state: str
    value: float | None = None
    reason: str = ""


def run_trial(job: Job) -> Outcome:
    """Run it in this process. What `fit` raises becomes an outcome: one bad trial is no reason to stop the others."""
    trial = optuna.Trial(open_study(job.storage, job.space), job.trial_id)
    try:
        main(["fit", *job.options], callbacks=[PyTorchLightningPruningCallback(trial, OBJECTIVE)])
        return outcome_of(job.folder)
    except optuna.TrialPruned as pruned:
        return Outcome("pruned", reason=str(pruned))
    except SystemExit as ended:
        return Outcome("failed", reason=f"`pneumonia fit` ended with code {ended.code}; {LOG} tells why")
    except PneumoniaError as error:
        return Outcome("failed", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        return Outcome("failed", reason=f"{type(error).__name__}: {error}")


def outcome_of(folder: Path) -> Outcome:
    """A finished run's best validation AUROC: that of `best.ckpt`, which is what would be exported."""
    values = [float(row[OBJECTIVE]) for row in read_metrics(folder / "metrics.csv") if OBJECTIVE in row]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Outcome("failed", reason=f"the run has no {OBJECTIVE}")
    return Outcome("complete", max(finite))


def work(job: Job, results: Connection) -> None:
    """Run a trial in the process that was started for it, and send its outcome to the one that waits for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to all processes: the parent ends its trials
    _end_with_parent()
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        if job.threads:
            import torch

            torch.set_num_threads(job.threads)
        outcome = run_trial(job)
        if "wandb" in sys.modules:  # where the config tracks its runs: a run that was given up is not ended yet
            sys.modules["wandb"].finish()
        sys.stdout.flush()
        sys.stderr.flush()
    results.send(outcome)
    results.close()


def _end_with_parent() -> None:
    """End when the parent is killed: else two processes would train one run when the search is taken up again."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
