"""What a search found: `report.json`, `report.md`, and `best.yaml`, which `pneumonia fit --config` takes."""

import math
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from pneumonia.files import atomic_write, write_json
from pneumonia.tuning.search import Search
from pneumonia.tuning.search_space import OBJECTIVE
from pneumonia.tuning.study import BASELINE, REASON
from pneumonia.tuning.trial import LOG

BEST_CONFIG = "best.yaml"
_SHOWN = 10
# With fewer, what looks important is chance.
_ENOUGH_FOR_IMPORTANCE = 10


def write_report(search: Search, study: optuna.Study) -> dict[str, Any]:
    """Write the report of a search, whether or not it came to its end, into its folder; returns `report.json`."""
    trials = study.get_trials(deepcopy=False)
    content = summary(search, trials)
    content["importance"] = _importance(study, trials)
    best = content["best"]
    if best is not None:
        _write(search.folder / BEST_CONFIG, best_config(search, best["number"]))
    write_json(search.folder / "report.json", content)
    _write(search.folder / "report.md", markdown(search, content))
    return content


def summary(search: Search, trials: list[FrozenTrial]) -> dict[str, Any]:
    """Counts by state, every trial, and the best one; plain values."""
    rows = [_row(search, trial) for trial in trials if trial.state != TrialState.WAITING]
    complete = [row for row in rows if row["state"] == "complete"]
    return {
        "objective": OBJECTIVE,
        "judged_on": "patients held out of train; the best epoch of each trial",
        "trials_asked": search.trials,
        "counts": {state: sum(row["state"] == state for row in rows) for state in _STATES.values()},
        "best": max(complete, key=lambda row: row["value"], default=None),
        "trials": rows,
        "fixed": dict(search.space.fixed),
        "options": search.options,
    }


def best_config(search: Search, number: int) -> str:
    """The config of a trial's run as YAML, for a new run: its own folder, and the devices that were asked for."""
    config = yaml.safe_load((search.run_folder(number) / "config.yaml").read_text(encoding="utf-8"))
    for key in ("devices", "enable_progress_bar"):
        config["trainer"][key] = search.config["trainer"][key]
    config["trainer"]["default_root_dir"] = str(search.folder / "best")
    config["ckpt_path"] = None
    head = f"# The best of the trials of `pneumonia tune` in {search.folder.name}: trial {number}.\n"
    text: str = yaml.safe_dump(config, sort_keys=False)
    return head + text


def markdown(search: Search, content: dict[str, Any]) -> str:
    """The report that a person reads."""
    counts, best = content["counts"], content["best"]
    complete = sorted((row for row in content["trials"] if row["state"] == "complete"), key=lambda row: -row["value"])
    names = list(search.space.distributions)
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    parts = [
        f"# Search in {search.folder.name}\n\n{len(content['trials'])} of {search.trials} trials: {said or 'none'}.\n"
    ]
    if best is not None:
        parts.append(
            f"The best is trial {best['number']}: validation AUROC {best['value']:.4f} in epoch {best['best_epoch']}. "
            f"Its config is [{BEST_CONFIG}]({BEST_CONFIG}): `pneumonia fit --config {search.folder / BEST_CONFIG}`.\n\n"
            "Validation AUROC, of patients held out of train, chose epoch and trial, so that it flatters the best one: "
            "what it is worth, `pneumonia evaluate` tells on films that chose nothing.\n"
        )
        head = ["trial", "validation AUROC", "epoch", *names, "minutes"]
        rows = [
            [
                f"{row['number']}{' (the config itself)' if row['baseline'] else ''}",
                f"{row['value']:.4f}",
                str(row["best_epoch"]),
                *(_shown(row["parameters"].get(name)) for name in names),
                _minutes(row["seconds"]),
            ]
            for row in complete[:_SHOWN]
        ]
        parts.append(_table(head, rows))
    if content["importance"]:
        parts.append("## What mattered\n\nShare of the good trials' difference from the others (PED-ANOVA):\n")
        parts.append(_table(["setting", "share"], [[f"`{k}`", f"{v:.2f}"] for k, v in content["importance"].items()]))
    failed = [row for row in content["trials"] if row["state"] == "failed"]
    if failed:
        parts.append(f"## Failed\n\nThe whole story is in each trial's `{LOG}`.\n")
        parts.append(_table(["trial", "reason"], [[str(row["number"]), _shown(row["reason"])] for row in failed]))
    return "\n".join(parts)


_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "interrupted",
}


def _row(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    by_epoch = {epoch: value for epoch, value in trial.intermediate_values.items() if math.isfinite(value)}
    complete = trial.state == TrialState.COMPLETE
    return {
        "number": trial.number,
        "state": _STATES[trial.state],
        "value": trial.value if complete else None,
        "best_epoch": max(by_epoch, key=lambda epoch: by_epoch[epoch], default=None),
        "epochs": len(trial.intermediate_values),
        "parameters": dict(trial.params),
        "baseline": bool(trial.user_attrs.get(BASELINE)),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "reason": trial.user_attrs.get(REASON, ""),
        "folder": search.run_folder(trial.number).relative_to(search.folder).as_posix(),
    }


def _importance(study: optuna.Study, trials: list[FrozenTrial]) -> dict[str, float] | None:
    complete = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    if len(complete) < _ENOUGH_FOR_IMPORTANCE or len(set(complete)) == 1:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return {
        name: float(share)
        for name, share in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _shown(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.1f}"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
