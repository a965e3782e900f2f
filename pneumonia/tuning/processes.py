"""Trials at work: each in a process of its own, on a device of its own, and how it ended."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from optuna.trial import FrozenTrial

from pneumonia.tuning.search import DATABASE, Search
from pneumonia.tuning.trial import Job, Outcome, work


@dataclass(frozen=True)
class Running:
    """A trial at work, and the worker's number that no other one at work has."""

    trial: FrozenTrial
    process: BaseProcess
    results: Connection
    slot: int


def process_context() -> BaseContext:
    """Processes that are forked from one which has imported PyTorch already, where the system has such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pneumonia.tuning.trial"])
    return context


def start(context: BaseContext, search: Search, trial: FrozenTrial, slot: int) -> Running:
    """Run a trial in a process of its own: from its beginning, or from the last epoch of an earlier sitting."""
    folder = search.run_folder(trial.number)
    options = [
        *search.options,
        *search.space.options(trial.params),
        f"--trainer.default_root_dir={folder}",
        "--trainer.enable_progress_bar=false",
        *_device(search, slot),
    ]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        options.append("--ckpt_path=last")
    threads = 0 if "OMP_NUM_THREADS" in os.environ else max(1, (os.cpu_count() or 1) // search.workers)
    job = Job(folder, search.folder / DATABASE, trial._trial_id, options, search.space, threads)
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, sending))  # type: ignore[attr-defined]
    process.start()
    sending.close()
    return Running(trial, process, receiving, slot)


def _device(search: Search, slot: int) -> list[str]:
    """One device a trial; of several GPUs, one for each worker."""
    import torch

    if search.config["trainer"]["devices"] != "auto":
        return []
    gpus = torch.cuda.device_count()
    return [f"--trainer.devices=[{slot % gpus}]" if gpus > 1 else "--trainer.devices=1"]


def outcome_of(ended: Running) -> Outcome:
    """How a trial whose process has ended ended: what it sent, or that it could send nothing."""
    ended.process.join()
    try:
        outcome: Outcome = ended.results.recv()
    except EOFError:
        code = ended.process.exitcode or 0
        how = (
            f"was killed by {signal.Signals(-code).name}: is there memory for it?" if code < 0 else f"ended with {code}"
        )
        outcome = Outcome("failed", reason=f"its process {how}")
    finally:
        ended.results.close()
    return outcome
