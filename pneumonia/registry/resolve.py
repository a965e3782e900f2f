"""Which bundle a command runs: a directory, a registry's alias, its best, or the reference in the package."""

import argparse
import os
from pathlib import Path

from pneumonia.bundle import REFERENCE, Bundle, load_bundle
from pneumonia.errors import RegistryError
from pneumonia.registry.base import BEST, Registry
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.pull_process import pull_apart

WANDB = "wandb"
REGISTRY_VARIABLE = "PNEUMONIA_REGISTRY"
DEFAULT_REGISTRY = "artifacts/registry"


def registry_root() -> str:
    """Where the registry is: `PNEUMONIA_REGISTRY`, else `artifacts/registry`."""
    return os.environ.get(REGISTRY_VARIABLE) or DEFAULT_REGISTRY


def open_registry(where: Path | str | None = None) -> Registry:
    """The registry at a place, a folder or `wandb://ENTITY/REGISTRY`; without one, at `registry_root()`.

    Raises `RegistryError` for a place of another kind.
    """
    place = str(registry_root() if where is None else where)
    scheme, separator, path = place.partition("://")
    if not separator:
        return LocalRegistry(place)
    parts = path.strip("/").split("/")
    if scheme != WANDB or len(parts) != 2 or not all(parts):
        raise RegistryError(f"{place} is no place of a registry: name a folder, or {WANDB}://ENTITY/REGISTRY.")
    from pneumonia.registry.wandb import WandbRegistry

    return WandbRegistry(parts[0], parts[1])


def split_reference(text: str) -> tuple[str, str]:
    """(place, reference) of what `--registry` names: one of W&B may bring its place along, another is in the default.

    >>> split_reference("wandb://team/model:best")
    ('wandb://team/model', 'best')
    >>> split_reference("wandb://team/model/cnn:v3")
    ('wandb://team/model', 'cnn:v3')
    """
    if not text.startswith(f"{WANDB}://"):
        return registry_root(), text
    entity, _, rest = text.removeprefix(f"{WANDB}://").partition("/")
    registry, slash, reference = rest.partition("/")
    if not slash:
        registry, _, reference = rest.partition(":")
    return f"{WANDB}://{entity}/{registry}", reference or BEST


def add_bundle_options(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """`--bundle DIR` and `--registry ALIAS`, at most one of them; a command can add another way to the group."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle's directory")
    chosen.add_argument(
        "--registry",
        metavar="ALIAS",
        help=f"an alias or name:version in the registry ({REGISTRY_VARIABLE}, default {DEFAULT_REGISTRY}), or "
        f"{WANDB}://ENTITY/REGISTRY[/NAME]:ALIAS; without either option its `best`, else, of a folder that has none, "
        "the reference bundle of the package",
    )
    return chosen


def chosen_alias(options: argparse.Namespace) -> str | None:
    """What the registry calls the bundle that the options name; None when it does not come from there."""
    if options.bundle is not None:
        return None
    if options.registry is not None:
        return split_reference(str(options.registry))[1]
    # Who names W&B wants its best, and no other in its place.
    held = registry_root().startswith(f"{WANDB}://") or open_registry().holder(BEST) is not None
    return BEST if held else None


def resolve_bundle(options: argparse.Namespace) -> Bundle:
    """Load and verify the bundle that the options name. Raises `BundleError` and `RegistryError`."""
    if options.bundle is not None:
        return load_bundle(options.bundle)
    alias = chosen_alias(options)
    if alias is None:
        return load_bundle(REFERENCE)
    place = split_reference(str(options.registry or alias))[0]
    if place.startswith(f"{WANDB}://"):
        return load_bundle(pull_apart(place, alias))
    return load_bundle(open_registry(place).pull(alias))
