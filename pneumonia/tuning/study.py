"""The search: draws parameters, keeps so many trials at work, records how each ends, and can be taken up again."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pneumonia.errors import ConfigError
from pneumonia.tuning.options import flattened
from pneumonia.tuning.search_space import SearchSpace
from pneumonia.tuning.storage import open_study, sampler
from pneumonia.tuning.trial import Job, Outcome, work

REASON, BASELINE = "reason", "baseline"
DATABASE = "study.db"
# When so many trials have failed and none has ended well, the next ones would fail as well.
HOPELESS = 5
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Search:
    """A search for settings.

    Args:
        folder: of the study and its runs.
        options: of `pneumonia fit`, which every trial has.
        config: what `fit` makes of them.
        space: what is tried.
        trials: how many in all, those of earlier sittings included.
        workers: how many at a time.
        timeout: seconds after which no trial begins; those at work end.
        seed: of the draws.
    """

    folder: Path
    options: list[str]
    config: dict[str, Any] = field(repr=False)
    space: SearchSpace
    trials: int = 20
    workers: int = 1
    timeout: float | None = None
    seed: int = 0

    def run_folder(self, number: int) -> Path:
        """Of the trial with this number."""
        return self.folder / "trials" / f"{number:04}"


@dataclass(frozen=True)
class _Running:
    trial: FrozenTrial
    process: BaseProcess
    results: Connection
    slot: int


def begin(search: Search) -> optuna.Study:
    """The search's study, whose first trial has the settings of the config itself, where the space holds them.

    Raises `ConfigError` when the folder holds the study of another search.
    """
    study = open_study(search.folder / DATABASE, search.space)
    asked = {
        "config": search.config,
        "space": {key: repr(value) for key, value in search.space.distributions.items()},
        "search": {"method": search.space.method, "fixed": dict(search.space.fixed), "seed": search.seed},
    }
    known = study.user_attrs.get("asked")
    if known is None:
        study.set_user_attr("asked", json.dumps(asked))
        own = search.space.of_config(flattened(search.config))
        if own is not None:
            study.enqueue_trial(own, user_attrs={BASELINE: True})
        return study
    old, new = flattened(json.loads(known)), flattened(json.loads(json.dumps(asked)))
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if differing:
        raise ConfigError(
            f"{search.folder} holds the study of another search, which differs in {', '.join(differing[:3])}: trials "
            "of both could not be compared. Name another --output, or search as it was begun."
        )
    return study


def tune(search: Search, study: optuna.Study, say: Callable[[str], None]) -> None:
    """Run trials until there are as many as are asked for. First those that were interrupted go on where they stopped.

    Whatever ends this function, Ctrl+C included, ends the trials at work; their runs are taken up the next time.
    Raises `ConfigError` when trials only fail.
    """
    context = _context()
    begun = time.monotonic()
    interrupted = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.RUNNING]
    running: list[_Running] = []
    try:
        while True:
            while len(running) < search.workers:
                late = search.timeout is not None and time.monotonic() - begun >= search.timeout
                trial = interrupted.pop(0) if interrupted else None if late else _draw(search, study)
                if trial is None:
                    break
                if set(trial.params) != set(search.space.distributions):
                    _record(study, trial, Outcome("failed", reason="interrupted before its parameters were drawn"))
                    continue
                slot = min(set(range(search.workers)) - {one.slot for one in running})
                running.append(_start(context, search, trial, slot))
            if not running:
                break
            wait([one.process.sentinel for one in running])
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                outcome = _outcome(one)
                _record(study, one.trial, outcome)
                say(_line(study, one.trial, outcome))
    finally:
        for one in running:
            one.process.kill()
            one.process.join()
    _complain_of_failures(search, study)


def _draw(search: Search, study: optuna.Study) -> FrozenTrial | None:
    """The next trial with its parameters; None when there are enough, or when it would fail as all did before."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    if len(trials) >= search.trials or _hopeless(trials):
        return None
    study.sampler = sampler(search.space, search.seed, len(trials))
    trial = study.ask(fixed_distributions=dict(search.space.distributions))
    return study.get_trials(deepcopy=False)[trial.number]


def _start(context: BaseContext, search: Search, trial: FrozenTrial, slot: int) -> _Running:
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
    return _Running(trial, process, receiving, slot)


def _device(search: Search, slot: int) -> list[str]:
    """One device a trial; of several GPUs, one for each worker."""
    import torch

    if search.config["trainer"]["devices"] != "auto":
        return []
    gpus = torch.cuda.device_count()
    return [f"--trainer.devices=[{slot % gpus}]" if gpus > 1 else "--trainer.devices=1"]


def _outcome(ended: _Running) -> Outcome:
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


def _record(study: optuna.Study, trial: FrozenTrial, outcome: Outcome) -> None:
    if outcome.reason:
        study._storage.set_trial_user_attr(trial._trial_id, REASON, outcome.reason)
    study.tell(trial.number, outcome.value, _STATES[outcome.state])


def _line(study: optuna.Study, trial: FrozenTrial, outcome: Outcome) -> str:
    complete = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    best = f"; best so far {study.best_value:.4f}, trial {study.best_trial.number}" if complete else ""
    said = (
        f"validation AUROC {outcome.value:.4f}" if outcome.value is not None else f"{outcome.state}: {outcome.reason}"
    )
    return f"trial {trial.number}: {said}{best}"


def _hopeless(trials: list[FrozenTrial]) -> bool:
    states = [trial.state for trial in trials]
    return states.count(TrialState.FAIL) >= HOPELESS and not {TrialState.COMPLETE, TrialState.PRUNED} & set(states)


def _complain_of_failures(search: Search, study: optuna.Study) -> None:
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if failed and len(failed) == len(trials):
        raise ConfigError(
            f"All {len(failed)} trials failed, the last one because: {failed[-1].user_attrs.get(REASON, 'unknown')}. "
            f"Their logs are under {search.folder / 'trials'}; a search that was mended needs another --output."
        )


def _context() -> BaseContext:
    """Processes that are forked from one which has imported PyTorch already, where the system has such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pneumonia.tuning.trial"])
    return context
