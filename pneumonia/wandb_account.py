"""Whether Weights & Biases can be used here: the library, and an account; nobody is asked for one."""

import importlib
import importlib.util
import netrc
import os
from typing import Any
from urllib.parse import urlsplit

from pneumonia.errors import MissingLibraryError

# Where runs are kept that name no other project.
PROJECT = "pneumonia"


def require_wandb(what: str) -> Any:
    """The library. Raises `MissingLibraryError`, which says that `what` needs it and how to install it."""
    if importlib.util.find_spec("wandb") is None:
        raise MissingLibraryError(f"{what} needs wandb: pip install 'pneumonia[tracking]'.")
    return importlib.import_module("wandb")


def has_account() -> bool:
    """Whether a key for W&B's server (`WANDB_BASE_URL`, else W&B's cloud) is configured; it is not looked at."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = require_wandb("Weights & Biases").setup().settings
    if settings.api_key:
        return True
    try:
        host = urlsplit(settings.base_url).netloc
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
