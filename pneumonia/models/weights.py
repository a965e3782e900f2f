"""Pretrained weights of torchvision's classifiers: by name, or from a local file, and never as code."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from pneumonia.errors import ConfigError

# Densely connected layers were called `norm.1` before PyTorch 0.4 forbade the dot; torchvision's files still do.
_DENSE_LAYER = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def load_weights(classifier: nn.Module, name: str, weights: str) -> None:
    """Give a torchvision classifier its pretrained weights, but for the last layers, which are other ones here.

    Args:
        classifier: as `torchvision.models.get_model(name)` makes it.
        name: of the classifier.
        weights: a name that torchvision knows (`DEFAULT`, `IMAGENET1K_V1`), which it downloads to `$TORCH_HOME` once,
            checked by hash; or a local file (.pt, .pth) of a state dict of the classifier, of whatever classes.

    Nothing in a file is run. Raises `ConfigError` for weights that can't be had, can't be read, or are another
    network's.
    """
    path = Path(weights)
    state = _read(path) if path.suffix in (".pt", ".pth") else _download(name, weights)
    _load(classifier, state, weights)


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails in many ways on a foreign file
        raise ConfigError(f"{path} can't be read as a state dict: missing, damaged, or another file.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} holds a {type(loaded).__name__}, not the state dict of a classifier.")
    return loaded


def _download(name: str, weights: str) -> dict[str, Any]:
    """Torchvision's file of these weights: from its cache, else from its server."""
    try:
        known = models.get_model_weights(name)[weights]
    except KeyError as error:
        names = ", ".join(item.name for item in models.get_model_weights(name))
        raise ConfigError(
            f"{name} has no weights {weights!r}: give DEFAULT, {names}, or a .pt or .pth file."
        ) from error
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(known.url).name)
    try:
        # By default it would run what is in the file.
        state: dict[str, Any] = known.get_state_dict(
            progress=True, check_hash=True, map_location="cpu", weights_only=True
        )
    except Exception as error:  # of the network, the disk, the hash, and whatever the unpickler says of a foreign file
        if cached.is_file():  # it gets this name when its hash was found right
            raise ConfigError(
                f"{cached}, the weights {weights} of {name}, can't be read: it is damaged, or another file. Remove it, "
                "and it is downloaded again."
            ) from error
        raise ConfigError(
            f"The weights {weights} of {name} can't be downloaded ({error}). Get {known.url} on a machine that can, "
            f"and put it at {cached}, or give its path as `weights`."
        ) from error
    return state


def _load(classifier: nn.Module, state: dict[str, Any], source: str) -> None:
    own = classifier.state_dict()
    named = {_DENSE_LAYER.sub(r"\1\2", key): value for key, value in state.items() if isinstance(key, str)}
    usable = {
        key: value
        for key, value in named.items()
        if key in own and isinstance(value, Tensor) and own[key].shape == value.shape
    }
    # PyTorch itself supplies the counters of batches, which files from before 0.4.1 do not have.
    absent = classifier.load_state_dict(usable, strict=False).missing_keys
    kept = ("classifier.0.",) if isinstance(classifier, models.ConvNeXt) else ()
    missing = [key for key in absent if key.startswith(kept) or not key.startswith(("fc.", "classifier."))]
    if missing:
        raise ConfigError(f"The weights {source} lack {len(missing)} of {len(own)} tensors, e.g. {missing[0]!r}.")
