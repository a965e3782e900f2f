"""What a run needs of its config before W&B's logger is made: the library, a folder, an identity, and no questions."""

import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from pneumonia.wandb_account import PROJECT, has_account, require_wandb

# In the run's folder: where W&B has the run, for those who resume it, export it or test it.
RUN_FILE = "wandb.json"
_LOGGER = "lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.wandb.WandbLogger", "WandbLogger"


def prepare_loggers(loggers: Any, run: Path, known_run: bool) -> None:
    """Complete each `WandbLogger` of a trainer's config in place.

    Without an account and without `WANDB_MODE` the run is kept offline, and a warning says so: nothing asks for a
    login. One without a project gets ours. With `known_run` the run that the folder's `wandb.json` names goes on.
    Raises `MissingLibraryError` when a W&B logger is asked for and wandb is not installed.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if getattr(logger, "class_path", None) not in _LOGGER:
            continue
        require_wandb("WandbLogger")
        settings = logger.init_args
        # For a folder that is not there W&B takes a temporary one.
        Path(settings.save_dir or ".").mkdir(parents=True, exist_ok=True)
        if settings.project is None and not os.environ.get("WANDB_PROJECT"):
            settings.project = PROJECT  # Lightning's own would be lightning_logs
        if known_run and settings.id is None and settings.version is None:
            settings.id = read_run(run).get("id")
        if not settings.offline and not os.environ.get("WANDB_MODE") and not has_account():
            # Not `offline`: it sets the environment of the process, which W&B has read by now.
            logger.dict_kwargs = {**(logger.get("dict_kwargs") or {}), "mode": "offline"}
            rank_zero_warn(
                "There is no W&B account on this machine (`wandb login`, or WANDB_API_KEY): this run is kept offline "
                f"under {settings.save_dir}/wandb. `wandb sync` sends it later."
            )


def read_run(folder: Path) -> dict[str, Any]:
    """What `wandb.json` in a run's folder says; empty when there is none or it can't be read."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
