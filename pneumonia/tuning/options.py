"""What `pneumonia fit` would make of its options, without running it."""

import contextlib
import io
from typing import Any, cast

import yaml

from pneumonia.errors import ConfigError


def resolved_config(options: list[str]) -> dict[str, Any]:
    """The whole config that `pneumonia fit` with these options would run. Raises `ConfigError` with its reason."""
    from pneumonia.training.cli import main

    said, complaints = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaints):
            main(["fit", *options, "--print_config"])
    except SystemExit as ended:
        if ended.code not in (None, 0):
            reason = complaints.getvalue().partition("error: ")[2] or complaints.getvalue()
            raise ConfigError(f"`pneumonia fit` can't take these options: {reason.strip()}") from ended
    return cast(dict[str, Any], yaml.safe_load(said.getvalue()))


def flattened(config: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key.

    >>> flattened({"data": {"root": "films", "batch_size": 8}})
    {'data.root': 'films', 'data.batch_size': 8}
    """
    if not isinstance(config, dict):
        return {prefix: config}
    parts = [flattened(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in config.items()]
    return {key: value for part in parts for key, value in part.items()}
