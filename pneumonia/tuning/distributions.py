"""The choices of a W&B sweep config as Optuna's distributions."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pneumonia.errors import ConfigError


def read_distribution(key: str, choice: Any) -> BaseDistribution:
    """What a parameter's `values`, or its `min` and `max`, mean. Raises `ConfigError` that names the key."""
    if not isinstance(choice, dict):
        raise ConfigError(f"{key} is {choice!r}; give `values`, or `min` and `max`, or one `value`.")
    given = set(choice) - {"distribution"}
    kind = choice.get("distribution", "categorical" if "values" in choice else _kind_of_range(choice))
    if kind not in _READERS:
        raise ConfigError(f"{key} has the distribution {kind!r}; `pneumonia tune` knows {', '.join(_READERS)}.")
    names, read = _READERS[kind]
    if given != set(names):
        raise ConfigError(f"{key}: a distribution {kind} is given by {', '.join(names)}, not {sorted(given)}.")
    try:
        return read(*(choice[name] for name in names))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def _kind_of_range(choice: Mapping[str, Any]) -> str:
    whole = all(isinstance(choice.get(end), int) for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _categorical(values: Any) -> BaseDistribution:
    if not isinstance(values, list) or not values:
        raise ValueError(f"values is {values!r}; give a list.")
    return CategoricalDistribution([stored(value) for value in values])


def _uniform(low: Any, high: Any) -> BaseDistribution:
    return FloatDistribution(*_range(low, high))


def _stepped(low: Any, high: Any, step: Any) -> BaseDistribution:
    return FloatDistribution(*_range(low, high), step=_number("q", step))


def _logarithmic(low: Any, high: Any) -> BaseDistribution:
    return FloatDistribution(*_range(low, high), log=True)


def _whole(low: Any, high: Any) -> BaseDistribution:
    limits = _range(low, high)
    if not all(limit.is_integer() for limit in limits):
        raise ValueError(f"min and max of whole numbers are {low} and {high}.")
    return IntDistribution(int(limits[0]), int(limits[1]))


# W&B's names and arguments: https://docs.wandb.ai/guides/sweeps/sweep-config-keys
_READERS: dict[str, tuple[tuple[str, ...], Callable[..., BaseDistribution]]] = {
    "categorical": (("values",), _categorical),
    "uniform": (("min", "max"), _uniform),
    "q_uniform": (("min", "max", "q"), _stepped),
    "log_uniform_values": (("min", "max"), _logarithmic),
    "int_uniform": (("min", "max"), _whole),
}


def _range(low: Any, high: Any) -> tuple[float, float]:
    limits = _number("min", low), _number("max", high)
    if limits[0] >= limits[1]:
        raise ValueError(f"min is {low} and max is {high}; min has to be less.")
    return limits


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = " (YAML reads 1e-3 as text: write 0.001)" if isinstance(value, str) else ""
        raise ValueError(f"{name} is {value!r}; give a number{hint}.")
    return float(value)


def stored(value: Any) -> Any:
    """As Optuna keeps it: plain values as they are, others as JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value, as Optuna keeps it, is one of the choices."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and distribution.low <= value <= distribution.high


def ends(distribution: BaseDistribution) -> Sequence[Any]:
    """All values of a list, or the first and the last of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high
