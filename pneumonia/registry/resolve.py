"""Which bundle a command runs: a directory, a registry's alias, its best, or the reference in the package."""

import argparse
import os
from pathlib import Path

from pneumonia.bundle import REFERENCE, Bundle, load_bundle
from pneumonia.errors import RegistryError
from pneumonia.registry.base import BEST, Registry
from pneumonia.registry.local import LocalRegistry

REGISTRY_VARIABLE = "PNEUMONIA_REGISTRY"
DEFAULT_REGISTRY = "artifacts/registry"


def registry_root() -> str:
    """Where the registry is: `PNEUMONIA_REGISTRY`, else `artifacts/registry`."""
    return os.environ.get(REGISTRY_VARIABLE) or DEFAULT_REGISTRY


def open_registry(where: Path | str | None = None) -> Registry:
    """The registry at a place: a folder; without one, at `registry_root()`.

    Raises `RegistryError` for a place of another kind, such as a URL.
    """
    place = str(registry_root() if where is None else where)
    scheme, separator, _ = place.partition("://")
    if separator:
        raise RegistryError(f"There is no registry of the kind {scheme!r} ({place}): name a folder.")
    return LocalRegistry(place)


def add_bundle_options(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """`--bundle DIR` and `--registry ALIAS`, at most one of them; a command can add another way to the group."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle's directory")
    chosen.add_argument(
        "--registry",
        metavar="ALIAS",
        help=f"an alias or name:version in the local registry ({REGISTRY_VARIABLE}, default {DEFAULT_REGISTRY}); "
        "without either option its `best`, else the reference bundle of the package",
    )
    return chosen


def chosen_alias(options: argparse.Namespace) -> str | None:
    """What the registry calls the bundle that the options name; None when it does not come from there."""
    if options.bundle is not None:
        return None
    if options.registry is not None:
        return str(options.registry)
    return None if open_registry().holder(BEST) is None else BEST


def resolve_bundle(options: argparse.Namespace) -> Bundle:
    """Load and verify the bundle that the options name. Raises `BundleError` and `RegistryError`."""
    if options.bundle is not None:
        return load_bundle(options.bundle)
    alias = chosen_alias(options)
    return load_bundle(REFERENCE if alias is None else open_registry().pull(alias))
