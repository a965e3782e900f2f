"""Whether the films of a tree are those that `data.dvc` names: its hash, computed as DVC computes it."""

import tempfile
from pathlib import Path
from typing import Any

from pneumonia.data.destination import TRACKER, tracker_of

_NO_DVC = "DVC is not installed (pip install 'pneumonia[data]')"


def data_version(root: Path, checkout: Path | None = None) -> dict[str, Any]:
    """What `data.dvc` says of the tree at `root`.

    `tracked` is the hash in `data.dvc`, that of `checkout` or else of the nearest folder around the tree; `found` that
    of the tree, hidden files left out; `same` whether they are, None where that can't be told; `note` why not. The
    folder that is tracked may be the tree itself or one that holds nothing else, wherever the tree lies now.
    """
    tracker = checkout / TRACKER if checkout and (checkout / TRACKER).is_file() else tracker_of(root)
    if tracker is None:
        return _answer(None, None, f"no {TRACKER} in the checkout or around the data")
    try:
        tracked, folder = read_tracker(tracker)
    except (OSError, ValueError) as error:
        return _answer(None, None, f"{TRACKER} can't be read ({error})")
    try:
        hashes = _directory_hashes(root.resolve(), folder.resolve())
    except ModuleNotFoundError:
        return _answer(tracked, None, _NO_DVC)
    return _answer(tracked, tracked if tracked in hashes else hashes[0])


def read_tracker(path: Path) -> tuple[str, Path]:
    """The hash of the folder that a `.dvc` file tracks, and that folder. Raises `OSError`, and `ValueError`."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        (out,) = content["outs"]
        tracked, folder = str(out["md5"]), path.parent / content.get("wdir", ".") / str(out["path"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("it has not one folder with its md5") from error
    if not tracked.endswith(".dir"):
        raise ValueError(f"{out['path']} is no folder")
    return tracked, folder


def _answer(tracked: str | None, found: str | None, note: str = "") -> dict[str, Any]:
    same = None if tracked is None or found is None else tracked == found
    if same is False:
        note = f"their hash is {found}, not {tracked}"
    return {"tracked": tracked, "found": found, "same": same, "note": note}


def _directory_hashes(root: Path, tracked: Path) -> list[str]:
    """DVC's hash of a folder that holds the tree alone, under the name it has there, and of the tree itself."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.fs.local import LocalFileSystem

    place = root.relative_to(tracked).parts if root.is_relative_to(tracked) else (root.name,)
    files = LocalFileSystem()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as scratch:
        _, _, built = build(HashFileDB(files, scratch), str(root), files, "md5", dry_run=True)
    assert isinstance(built, Tree)
    hashes = []
    for prefix in dict.fromkeys([place, ()]):
        tree = Tree()  # type: ignore[no-untyped-call]
        for key, meta, identity in built:
            if not any(part.startswith(".") for part in key):  # as .dvcignore says
                tree.add((*prefix, *key), meta, identity)
        tree.digest()
        hashes.append(str(tree.oid))
    return hashes
