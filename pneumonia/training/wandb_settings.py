"""What a run needs of its config before W&B's logger is made: the library, a folder, an identity, and no questions."""

import importlib.util
import json
import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.utilities import rank_zero_warn

from pneumonia.errors import MissingLibraryError

# In the run's folder: where W&B has the run, for those who resume it, export it or test it.
RUN_FILE = "wandb.json"
_LOGGER = "lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.wandb.WandbLogger", "WandbLogger"


def prepare_loggers(loggers: Any, run: Path, known_run: bool) -> None:
    """Complete each `WandbLogger` of a trainer's config in place.

    Without an account and without `WANDB_MODE` the run is kept offline, and a warning says so: nothing asks for a
    login. With `known_run` the run that the folder's `wandb.json` names goes on. Raises `MissingLibraryError` when a
    W&B logger is asked for and wandb is not installed.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if getattr(logger, "class_path", None) not in _LOGGER:
            continue
        if importlib.util.find_spec("wandb") is None:
            raise MissingLibraryError("WandbLogger needs wandb: pip install 'pneumonia[tracking]'.")
        settings = logger.init_args
        Path(settings.save_dir).mkdir(parents=True, exist_ok=True)  # W&B takes a temporary folder for one not there
        if known_run and settings.id is None and settings.version is None:
            settings.id = read_run(run).get("id")
        if not settings.offline and not os.environ.get("WANDB_MODE") and not has_account():
            # Not `offline`: it sets the environment of the process, which W&B has read by now.
            logger.dict_kwargs = {**(logger.get("dict_kwargs") or {}), "mode": "offline"}
            rank_zero_warn(
                "There is no W&B account on this machine (`wandb login`, or WANDB_API_KEY): this run is kept offline "
                f"under {settings.save_dir}/wandb. `wandb sync` sends it later."
            )


def has_account() -> bool:
    """Whether a key for W&B's server (`WANDB_BASE_URL`, else W&B's cloud) is configured; it is not looked at."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = wandb.setup().settings
    if settings.api_key:
        return True
    try:
        host = urlsplit(settings.base_url).netloc
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def read_run(folder: Path) -> dict[str, Any]:
    """What `wandb.json` in a run's folder says; empty when there is none or it can't be read."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
