"""Which bundle a command runs: a directory, a registry's alias, its best, or the reference in the package."""

import argparse
import os
from pathlib import Path

from pneumonia.bundle import REFERENCE, Bundle, load_bundle
from pneumonia.registry.base import BEST
from pneumonia.registry.local import LocalRegistry

REGISTRY_VARIABLE = "PNEUMONIA_REGISTRY"
DEFAULT_REGISTRY = "artifacts/registry"


def registry_root() -> Path:
    """The local registry's folder: `PNEUMONIA_REGISTRY`, else `artifacts/registry`."""
    return Path(os.environ.get(REGISTRY_VARIABLE) or DEFAULT_REGISTRY)


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
    held = any(BEST in entry.aliases for entry in LocalRegistry(registry_root()).list())
    return BEST if held else None


def resolve_bundle(options: argparse.Namespace) -> Bundle:
    """Load and verify the bundle that the options name. Raises `BundleError` and `RegistryError`."""
    if options.bundle is not None:
        return load_bundle(options.bundle)
    alias = chosen_alias(options)
    return load_bundle(REFERENCE if alias is None else LocalRegistry(registry_root()).pull(alias))
