"""The table of a data tree: one row a file, with what its path, its header and its bytes tell."""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path

from pneumonia.errors import ConfigError, DataError, ImageError
from pneumonia.files import atomic_write, sha256_of
from pneumonia.images import IMAGE_SUFFIXES, image_size
from pneumonia.parallel import map_films

# What a classifier may tell apart. The first class is NORMAL, every other one a kind of pneumonia.
LABELS = ("NORMAL", "PNEUMONIA")
PATHOGENS = ("NORMAL", "BACTERIA", "VIRUS")
SPLITS = ("train", "val", "test")

# Written by the phantom generator at the top of its tree; whoever reads the tree then knows that no patient is in it.
SYNTHETIC_MARKER = "synthetic.json"

_PNEUMONIA_NAME = re.compile(r"(?P<patient>person\d+)_(?P<pathogen>bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL_NAME = re.compile(r"(?P<patient>(NORMAL\d*-)?IM-\d+)-\d+", re.IGNORECASE)
_FAILURES_SHOWN = 10
_TEXTS = ("path", "split", "label", "patient", "pathogen", "sha256")


@dataclass(frozen=True)
class Row:
    """One file of a data tree.

    `path` is relative to the tree, with forward slashes; `split` the official one (train, val, test); `label` NORMAL
    or PNEUMONIA; `patient` from the name, else the name itself; `pathogen` bacteria, virus or empty; `width` and
    `height` in pixels, upright; `sha256` of the file's bytes.
    """

    path: str
    split: str
    label: str
    patient: str
    pathogen: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Rows in the order of their paths, the tree they came from, and whether the tree is synthetic."""

    root: Path
    rows: tuple[Row, ...]
    synthetic: bool = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what training depends on: each file's path and bytes. The same tree elsewhere has the same."""
        lines = "".join(f"{row.sha256}  {row.path}\n" for row in self.rows)
        return hashlib.sha256(os.fsencode(lines)).hexdigest()

    def select(self, indices: Iterable[int]) -> "Manifest":
        """The manifest of some rows, in the order given."""
        return Manifest(self.root, tuple(self.rows[index] for index in indices), self.synthetic)

    def paths(self) -> list[Path]:
        """The files, with the tree's own path in front."""
        return [self.root / row.path for row in self.rows]


def parse_name(name: str) -> tuple[str, str]:
    """(patient, pathogen) of a file's name in the convention of Kermany et al. (2018).

    A name of another form is its own patient, without a pathogen.

    >>> parse_name("person23_bacteria_88.jpeg")
    ('person23', 'bacteria')
    >>> parse_name("NORMAL2-IM-1427-0001.jpeg")
    ('NORMAL2-IM-1427', '')
    >>> parse_name("chest.png")
    ('chest', '')
    """
    if match := _PNEUMONIA_NAME.match(name):
        return match["patient"], match["pathogen"].lower()
    if match := _NORMAL_NAME.match(name):
        return match["patient"], ""
    return Path(name).stem, ""


def scan_tree(root: Path | str, progress: bool = False) -> Manifest:
    """Read a tree `{train,val,test}/{NORMAL,PNEUMONIA}/*`, of any resolution, into a manifest.

    Every file is hashed and its header read; no pixel is decoded. Files that are no images by their suffix, and
    hidden ones, are passed over. Raises `DataError` when there is no such tree, or names the files that can't be read.
    """
    root = Path(root)
    files = _list_files(root)
    if not files:
        raise DataError(
            f"No X-ray files under {root}: expected {root}/{{train,val,test}}/{{NORMAL,PNEUMONIA}}/*.jpeg. "
            "Fetch the data with `pneumonia data fetch`, or make synthetic ones with `pneumonia data phantom`."
        )
    failures: list[str] = []

    def read(path: Path) -> Row | None:
        try:
            width, height = image_size(path)
        except ImageError as error:
            failures.append(f"{path.relative_to(root).as_posix()}: {error}")
            return None
        patient, pathogen = parse_name(path.name)
        relative = path.relative_to(root)
        return Row(
            relative.as_posix(), path.parts[-3], path.parts[-2], patient, pathogen, width, height, sha256_of(path)
        )

    rows = map_films(read, files, "index" if progress else None, "file")
    if failures:
        raise DataError(summarise_failures(failures, f"of {len(files)} files under {root} can't be read"))
    return Manifest(root, tuple(row for row in rows if row is not None), (root / SYNTHETIC_MARKER).is_file())


def class_indices(rows: Iterable[Row], classes: Sequence[str]) -> list[int]:
    """The place of each row's class in `classes`, which are `LABELS` or `PATHOGENS`; -1 where its name tells none.

    Raises `ConfigError` for other classes.

    >>> class_indices([Row("a.png", "train", "PNEUMONIA", "person1", "virus", 8, 8, "")], PATHOGENS)
    [2]
    """
    if tuple(classes) not in (LABELS, PATHOGENS):
        known = " or ".join(f"[{', '.join(names)}]" for names in (LABELS, PATHOGENS))
        raise ConfigError(f"The classes {', '.join(classes)} are not told by the data; choose {known}.")
    places = {name: place for place, name in enumerate(classes)}
    return [places.get(row.label, places.get(row.pathogen.upper(), -1)) for row in rows]


def summarise_failures(failures: list[str], what: str) -> str:
    """One message of a list of failed files: how many, the first ten, and what to do."""
    shown = sorted(failures)[:_FAILURES_SHOWN]
    rest = [f"... and {len(failures) - len(shown)} more"] if len(failures) > len(shown) else []
    return "\n  ".join([f"{len(failures)} {what}; repair or remove them:", *shown, *rest])


def write_manifest(manifest: Manifest, path: Path | str) -> None:
    """Write the rows as CSV with a header, atomically."""
    # A file's name may hold bytes that are no UTF-8.
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(row) for row in manifest.rows)


def read_manifest(path: Path | str, root: Path | str) -> Manifest:
    """Read what `write_manifest` wrote, for the tree at `root`. Raises `DataError` for a file that is no manifest."""
    root = Path(root)
    try:
        with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != [field.name for field in fields(Row)]:
                raise ValueError("it has other columns")
            rows = tuple(map(_row, reader))
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise DataError(f"{path} is no manifest ({error}); write one with `pneumonia data index`.") from error
    return Manifest(root, rows, (root / SYNTHETIC_MARKER).is_file())


def _row(record: dict[str, str]) -> Row:
    width, height = int(record["width"]), int(record["height"])
    path, split, label, patient, pathogen, sha256 = (record[name] for name in _TEXTS)
    return Row(path, split, label, patient, pathogen, width, height, sha256)


def statistics(manifest: Manifest) -> dict[str, object]:
    """Counts that describe a manifest: files, patients and labels by split, pathogens, sizes, identical files."""
    by_split: dict[str, dict[str, object]] = {}
    for split in SPLITS:
        rows = [row for row in manifest.rows if row.split == split]
        if not rows:
            continue
        by_split[split] = {
            "files": len(rows),
            "patients": len({row.patient for row in rows}),
            **{label: sum(row.label == label for row in rows) for label in LABELS},
            "bacteria": sum(row.pathogen == "bacteria" for row in rows),
            "virus": sum(row.pathogen == "virus" for row in rows),
            "width": [min(row.width for row in rows), max(row.width for row in rows)],
            "height": [min(row.height for row in rows), max(row.height for row in rows)],
        }
    hashes = [row.sha256 for row in manifest.rows]
    return {
        "digest": manifest.digest,
        "synthetic": manifest.synthetic,
        "files": len(manifest.rows),
        "identical_files": len(hashes) - len(set(hashes)),
        "splits": by_split,
    }


def _list_files(root: Path) -> list[Path]:
    files = (
        path
        for split in SPLITS
        for label in LABELS
        for path in (root / split / label).glob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(files, key=lambda path: path.relative_to(root).as_posix())
