"""What a search may try: the `parameters` of a W&B sweep config as distributions, and trials as options of `fit`.

`wandb sweep` and `pneumonia tune` read the same file, so that a search moves from one to the other as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import BaseDistribution

from pneumonia.errors import ConfigError
from pneumonia.tuning.distributions import ends, holds, read_distribution, stored

OBJECTIVE = "val/auroc"
_METHODS = ("bayes", "random")
# They decide which films validate: trials that differ in them could not be compared.
_DECIDE_VALIDATION = (
    "data.root",
    "data.classes",
    "data.validation_fraction",
    "data.split_seed",
    "data.leave_out",
    "trainer.limit_val_batches",
)
_OF_THE_RUN = ("trainer.default_root_dir", "ckpt_path", "config", "print_config")


@dataclass(frozen=True)
class SearchSpace:
    """Distributions by dotted key of `fit`'s config, options that are fixed, and how they are searched.

    Args:
        distributions: what is drawn. Values that are not plain, such as lists, are there as JSON.
        fixed: options that every trial has.
        method: `bayes` or `random`.
        min_epochs: before which no trial is given up; None gives up none.
        reduction: of so many trials that reached an epoch at which trials are judged, one goes on.
    """

    distributions: Mapping[str, BaseDistribution]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    method: str = "bayes"
    min_epochs: int | None = None
    reduction: int = 3

    def options(self, parameters: Mapping[str, Any]) -> list[str]:
        """The words for `pneumonia fit` of one trial's parameters."""
        return [_word(key, value) for key, value in {**self.fixed, **parameters}.items()]

    def corners(self) -> list[dict[str, Any]]:
        """Parameters that together have every listed value and both ends of every range: what can be tried at once."""
        extremes = {key: ends(distribution) for key, distribution in self.distributions.items()}
        return [
            {key: values[min(index, len(values) - 1)] for key, values in extremes.items()}
            for index in range(max(map(len, extremes.values())))
        ]

    def of_config(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters that a config (values by dotted key) has already; None when one is none of the choices."""
        own = {key: stored(config.get(key)) for key in self.distributions}
        if all(holds(distribution, own[key]) for key, distribution in self.distributions.items()):
            return own
        return None


def read_search_space(path: Path) -> SearchSpace:
    """Read a sweep config. Raises `ConfigError` that names the file and the key for whatever can't be searched."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The search space {path} can't be read ({error.strerror}); name another --space.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The search space {path} is no YAML: {error}") from error
    try:
        return parse_search_space(content)
    except ConfigError as error:
        raise ConfigError(f"The search space {path}: {error}") from error


def parse_search_space(content: Any) -> SearchSpace:
    """A sweep config's content as a search space. Raises `ConfigError`."""
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict) or not content["parameters"]:
        raise ConfigError("it has no `parameters`: a mapping of dotted keys, such as model.learning_rate, to choices.")
    _check_metric(content.get("metric", {}))
    method = content.get("method", "bayes")
    if method not in _METHODS:
        raise ConfigError(f"method is {method!r}; `pneumonia tune` knows {' and '.join(_METHODS)}.")
    distributions: dict[str, BaseDistribution] = {}
    fixed: dict[str, Any] = {}
    for key, choice in content["parameters"].items():
        _check_key(str(key))
        if isinstance(choice, dict) and set(choice) == {"value"}:
            fixed[str(key)] = choice["value"]
        else:
            distributions[str(key)] = read_distribution(str(key), choice)
    if not distributions:
        raise ConfigError("every parameter has one value; give one at least `values`, or `min` and `max`.")
    return SearchSpace(distributions, fixed, method, *_early_terminate(content.get("early_terminate")))


def _check_metric(metric: Any) -> None:
    wanted = {"name": OBJECTIVE, "goal": "maximize"}
    if not isinstance(metric, dict) or any(metric.get(key, value) != value for key, value in wanted.items()):
        raise ConfigError(
            f"metric is {metric!r}; settings are chosen by {OBJECTIVE}, on patients held out of train, and it is "
            "maximised. The test folder is only ever reported on."
        )


def _check_key(key: str) -> None:
    if key in _DECIDE_VALIDATION:
        raise ConfigError(f"{key} decides which films validate: trials that differ in it could not be compared.")
    if key in _OF_THE_RUN:
        raise ConfigError(f"{key} is set for each trial; leave it out.")


def _early_terminate(rule: Any) -> tuple[int | None, int]:
    """The epochs before which no trial is given up, and of how many one goes on. W&B calls its rule hyperband."""
    if rule is None:
        return None, 3
    known = {"type", "min_iter", "eta"}
    if not isinstance(rule, dict) or set(rule) - known or rule.get("type") != "hyperband" or "min_iter" not in rule:
        raise ConfigError(f"early_terminate is {rule!r}; give `type: hyperband` with min_iter and, if need be, eta.")
    for name, least in (("min_iter", 1), ("eta", 2)):
        value = rule.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"early_terminate.{name} is {value!r}; give a whole number of {least} or more.")
    return rule["min_iter"], rule.get("eta", 3)


def _word(key: str, value: Any) -> str:
    return f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
