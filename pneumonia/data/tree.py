"""A tree in the official layout: found among files, copied, compared, counted, and verified against checksums."""

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pneumonia.data.archives import SourceFile, list_folder
from pneumonia.data.manifest import LABELS, SPLITS, SYNTHETIC_MARKER, summarise_failures
from pneumonia.errors import DataError
from pneumonia.files import sha256_of
from pneumonia.images import IMAGE_SUFFIXES
from pneumonia.parallel import map_films

# Without val it is still a tree: its 16 images choose no model, and one of the public copies has none.
_NEEDED = tuple(f"{split}/{label}" for split in ("train", "test") for label in LABELS)
_CHUNK = 2**18
_SUM_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64}) [ *](?P<path>.+)")


@dataclass(frozen=True)
class Tree:
    """A tree among files: the folder it is in (empty at the top), and its files by their path in the tree.

    The paths are `split/label/name`, and that of the marker of a synthetic tree.
    """

    prefix: str
    files: dict[str, SourceFile]

    @property
    def digest(self) -> str:
        """SHA-256 over paths and sizes: cheap to compare, and different for a tree that lost or gained a file."""
        lines = sorted(f"{file.size} {path}\n" for path, file in self.files.items())
        return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()

    def counts(self) -> Counter[str]:
        """Number of images by `split/label`."""
        return Counter(path.rpartition("/")[0] for path in self.files if path != SYNTHETIC_MARKER)

    def missing(self) -> list[str]:
        """The `split/label` of train and test without an image; a complete tree has none of these."""
        counts = self.counts()
        return [folder for folder in _NEEDED if not counts[folder]]


def find_tree(files: Iterable[SourceFile], source: str) -> Tree:
    """The outermost complete tree among files; hidden ones and `__MACOSX` are passed over. The order is kept.

    Complete is: at least one image of each label in train and test. Raises `DataError` that names `source` when there
    is none, or when there are several, beside each other, that differ.
    """
    trees = _all_trees(files, source)
    complete = [tree for tree in trees if not tree.missing()]
    if not complete:
        best = max(trees, key=lambda tree: len(tree.files), default=Tree("", {}))
        raise DataError(
            f"No complete data tree in {source}: no image in {', '.join(best.missing())}. "
            "Expected {train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg; give the folder or archive that holds it."
        )
    depth = min(len(PurePosixPath(tree.prefix).parts) for tree in complete)
    outermost = [tree for tree in complete if len(PurePosixPath(tree.prefix).parts) == depth]
    if len({tree.digest for tree in outermost}) > 1:
        names = ", ".join(sorted(tree.prefix for tree in outermost))
        raise DataError(f"{source} holds several data trees that differ: {names}. Give the folder of one of them.")
    return min(outermost, key=lambda tree: tree.prefix)


def tree_at(root: Path) -> Tree:
    """What a folder holds of a tree at its top, complete or not; empty when there is no such folder."""
    files = list_folder(root) if root.is_dir() else []
    trees = _all_trees(files, str(root))
    return next((tree for tree in trees if not tree.prefix), Tree("", {}))


def copy_tree(tree: Tree, destination: Path, progress: bool = False) -> None:
    """Write the tree's files below `destination`, an empty folder, as new and writable files."""
    from tqdm import tqdm

    for path, file in tqdm(tree.files.items(), desc="copy", unit="file", disable=not progress):
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as reader, target.open("xb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK)


def same_tree(tree: Tree, destination: Path) -> bool:
    """Whether the tree at `destination` has the same paths and the same bytes."""
    there = tree_at(destination)
    return there.digest == tree.digest and all(
        _same_bytes(file, there.files[path]) for path, file in tree.files.items()
    )


def verify_checksums(root: Path, checksums: Path, progress: bool = False) -> None:
    """Compare the images of the tree at `root` with a list in sha256sum's format, `<hex>  <path>` a line.

    The paths may have any folder in front of `split/label/name`; lines of other files are passed over. Raises
    `DataError` that names the first ten files that differ, are missing, or are not in the list.
    """
    listed, present = read_checksums(checksums), [path for path in tree_at(root).files if path != SYNTHETIC_MARKER]
    sums = map_films(lambda path: sha256_of(root / path), present, "verify" if progress else None, "file")
    found = dict(zip(present, sums, strict=True))
    failures = [
        f"{path}: {'missing' if path not in found else 'other bytes'}"
        for path in listed
        if found.get(path) != listed[path]
    ]
    failures += [f"{path}: not in the list" for path in found if path not in listed]
    if failures:
        raise DataError(summarise_failures(failures, f"files do not match {checksums}"))


def read_checksums(checksums: Path) -> dict[str, str]:
    """SHA-256, in lower case, by `split/label/name`. Raises `DataError` for what is no such list."""
    try:
        lines = checksums.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"The checksum list {checksums} can't be read: {error.strerror}.") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise DataError(f"Line {number} of {checksums} is no `<sha256>  <path>`: write the list with sha256sum.")
        place = _place(match["path"])
        if place is None or place[1] == SYNTHETIC_MARKER:
            continue
        if listed.setdefault(place[1], match["sum"].lower()) != match["sum"].lower():
            raise DataError(f"{checksums} lists {place[1]} twice, with different sums: give the list of one tree.")
    if not listed:
        raise DataError(f"{checksums} lists no file of a tree {{train,val,test}}/{{NORMAL,PNEUMONIA}}/*.")
    return listed


def list_beside(folder: Path) -> Path | None:
    """The list of checksums `<folder>.sha256`, beside the folder or beside what it is a link to, if there is one."""
    for path in (folder.absolute(), folder.resolve()):
        if (beside := path.with_name(f"{path.name}.sha256")).is_file():
            return beside
    return None


def _all_trees(files: Iterable[SourceFile], source: str) -> list[Tree]:
    trees: dict[str, Tree] = {}
    for file in files:
        if place := _place(file.name):
            prefix, path = place
            if trees.setdefault(prefix, Tree(prefix, {})).files.setdefault(path, file) is not file:
                raise DataError(f"{source} holds {file.name} twice: pack each file once.")
    return list(trees.values())


def _place(name: str) -> tuple[str, str] | None:
    """(folder of the tree, path in the tree) of a file's name, or none for a file of no tree.

    >>> _place("./chest_xray/train/NORMAL/a.jpeg")
    ('chest_xray', 'train/NORMAL/a.jpeg')
    >>> _place("__MACOSX/train/NORMAL/a.jpeg")
    """
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    if parts[-1:] == (SYNTHETIC_MARKER,):
        return "/".join(parts[:-1]), SYNTHETIC_MARKER
    if len(parts) < 3 or parts[-3] not in SPLITS or parts[-2] not in LABELS:
        return None
    if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
        return None
    return "/".join(parts[:-3]), "/".join(parts[-3:])


def _same_bytes(one: SourceFile, other: SourceFile) -> bool:
    with one.open() as first, other.open() as second:
        while chunk := first.read(_CHUNK):
            if second.read(len(chunk)) != chunk:
                return False
        return not second.read(1)
