"""The search: draws parameters, keeps so many trials at work, records how each ends, and can be taken up again."""

import json
import time
from collections.abc import Callable
from multiprocessing.connection import wait

import optuna
from optuna.trial import FrozenTrial, TrialState

from pneumonia.errors import ConfigError
from pneumonia.tuning.options import flattened
from pneumonia.tuning.processes import Running, outcome_of, process_context, start
from pneumonia.tuning.search import DATABASE, Search
from pneumonia.tuning.storage import open_study, sampler
from pneumonia.tuning.trial import Outcome

REASON, BASELINE = "reason", "baseline"
# When so many trials have failed and none has ended well, the next ones would fail as well.
HOPELESS = 5
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


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
    context = process_context()
    begun = time.monotonic()
    interrupted = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.RUNNING]
    running: list[Running] = []
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
                running.append(start(context, search, trial, slot))
            if not running:
                break
            wait([one.process.sentinel for one in running])
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                outcome = outcome_of(one)
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
