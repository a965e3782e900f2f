"""`pneumonia data fetch | index | stats | card | phantom`."""

import argparse
import json
import os
from pathlib import Path

from pneumonia.errors import ConfigError, DataError

SOURCE_VARIABLE = "PNEUMONIA_DATA_SOURCE"
DEFAULT_TREE = Path("data/chest_xray")


def main(arguments: list[str]) -> int:
    """Run one data command."""
    parser = argparse.ArgumentParser(prog="pneumonia data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="bring a data tree here, complete or not at all")
    fetch.add_argument("--source", help=f"folder, archive, URL, dvc, mendeley or kaggle (default: {SOURCE_VARIABLE})")
    fetch.add_argument("--output", type=Path, default=DEFAULT_TREE, help="default: %(default)s")
    fetch.add_argument("--sha256", help="of the archive")
    index = commands.add_parser("index", help="write a tree's manifest as CSV")
    index.add_argument("--data", type=Path, default=DEFAULT_TREE, help="default: %(default)s")
    index.add_argument("--output", type=Path, required=True)
    stats = commands.add_parser("stats", help="counts of a tree, and its split by patient, as JSON")
    card = commands.add_parser("card", help="describe a tree, and its split by patient, in Markdown")
    for described in (stats, card):
        described.add_argument("--data", type=Path, default=DEFAULT_TREE, help="default: %(default)s")
        described.add_argument("--validation-fraction", type=float, default=0.15)
        described.add_argument("--split-seed", type=int, default=0)
    phantom = commands.add_parser("phantom", help="write synthetic radiographs")
    phantom.add_argument("--output", type=Path, required=True)
    phantom.add_argument("--train", type=int, default=1200, help="films (default: %(default)s)")
    phantom.add_argument("--val", type=int, default=16, help="films (default: %(default)s)")
    phantom.add_argument("--test", type=int, default=300, help="films (default: %(default)s)")
    phantom.add_argument("--size", type=int, default=256, help="pixels of the longer side (default: %(default)s)")
    phantom.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    run = {"fetch": _fetch, "index": _index, "stats": _stats, "card": _card, "phantom": _phantom}[options.command]
    return run(options)


def _fetch(options: argparse.Namespace) -> int:
    from pneumonia.data.fetch import fetch

    source = options.source or os.environ.get(SOURCE_VARIABLE)
    if not source:
        raise ConfigError(
            f"Say where the data come from: --source or {SOURCE_VARIABLE}, a folder, an archive, a URL, dvc, or a "
            "public copy by name (mendeley, kaggle)."
        )
    _say(str(fetch(source, options.output, sha256=options.sha256, progress=True)))
    return 0


def _index(options: argparse.Namespace) -> int:
    from pneumonia.data.manifest import scan_tree, write_manifest

    manifest = scan_tree(options.data, progress=True)
    write_manifest(manifest, options.output)
    _say(f"{options.output}: {len(manifest.rows)} files, digest {manifest.digest[:16]}")
    return 0


def _stats(options: argparse.Namespace) -> int:
    from pneumonia.data.manifest import scan_tree, statistics
    from pneumonia.data.splits import assign_splits

    manifest = scan_tree(options.data, progress=True)
    content = statistics(manifest)
    splits = assign_splits(manifest, options.validation_fraction, options.split_seed)
    content["assigned"] = {
        name: {
            "files": len(indices),
            "patients": len({manifest.rows[index].patient for index in indices}),
            "NORMAL": sum(manifest.rows[index].label == "NORMAL" for index in indices),
            "PNEUMONIA": sum(manifest.rows[index].label == "PNEUMONIA" for index in indices),
        }
        for name, indices in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    }
    _say(json.dumps(content, indent=2))
    return 0


def _card(options: argparse.Namespace) -> int:
    from pneumonia.data.card import render_data_card
    from pneumonia.data.manifest import scan_tree
    from pneumonia.data.splits import assign_splits

    manifest = scan_tree(options.data, progress=True)
    _say(render_data_card(manifest, assign_splits(manifest, options.validation_fraction, options.split_seed)))
    return 0


def _phantom(options: argparse.Namespace) -> int:
    from pneumonia.data.phantom import PhantomCounts, write_phantoms

    counts = PhantomCounts(options.train, options.val, options.test)
    try:
        write_phantoms(options.output, counts, options.size, options.seed, progress=True)
    except FileExistsError as error:
        raise DataError(f"{options.output} exists already; remove it or name another --output.") from error
    _say(f"{options.output}: synthetic phantoms, no patient is in them")
    return 0


def _say(line: str) -> None:
    print(line)  # noqa: T201
