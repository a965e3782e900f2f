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


def add_bundle_options(parser: argparse.ArgumentParser) -> None:
    """`--bundle DIR` and `--registry ALIAS`, at most one of them."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle's directory")
    chosen.add_argument(
        "--registry",
        metavar="ALIAS",
        help=f"an alias or name:version in the local registry ({REGISTRY_VARIABLE}, default {DEFAULT_REGISTRY}); "
        "without either option its `best`, else the reference bundle of the package",
    )


def resolve_bundle(options: argparse.Namespace) -> Bundle:
    """Load and verify the bundle that the options name. Raises `BundleError` and `RegistryError`."""
    if options.bundle is not None:
        return load_bundle(options.bundle)
    registry = LocalRegistry(registry_root())
    if options.registry is not None:
        return load_bundle(registry.pull(options.registry))
    if any(BEST in entry.aliases for entry in registry.list()):
        return load_bundle(registry.pull(BEST))
    return load_bundle(REFERENCE)
