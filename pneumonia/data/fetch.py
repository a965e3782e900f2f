"""The data set onto this machine, whole or not at all: from a folder, an archive, a URL, a public copy, or DVC."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumonia.data.archives import open_source
from pneumonia.data.destination import TRACKER, locked, part_of, to_fill, tracker_of
from pneumonia.data.download import address_digest, discard, download
from pneumonia.data.tree import Tree, copy_tree, find_tree, list_beside, same_tree, tree_at, verify_checksums
from pneumonia.data.web import one_checksum, shown, split_checksum
from pneumonia.errors import DataError
from pneumonia.files import atomic_directory, sha256_of, write_json

# Written into a tree that came from an address: a later call then knows it without the network. Hidden, so no image.
_RECEIPT = ".fetched.json"
_DVC_TAIL = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublicCopy:
    """A copy of the data set that anyone may download, and the number of images documented for it by split/label.

    No checksum is published for these archives, so the numbers are what is compared.
    """

    url: str
    description: str
    images: Mapping[str, int]
    licence: str = "CC BY 4.0"

    @property
    def files(self) -> int:
        """Number of images in all."""
        return sum(self.images.values())


_TEST = {"test/NORMAL": 234, "test/PNEUMONIA": 390}
PUBLIC_COPIES: Mapping[str, PublicCopy] = {
    "mendeley": PublicCopy(
        "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
        "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
        "ChestXRay2017.zip of Kermany, Zhang, Goldbaum (2018), doi:10.17632/rscbjbr9sj.2: 1.2 GB, without val",
        {"train/NORMAL": 1349, "train/PNEUMONIA": 3883, **_TEST},
    ),
    "kaggle": PublicCopy(
        "https://www.kaggle.com/api/v1/datasets/download/paultimothymooney/chest-xray-pneumonia",
        "The same films as packed for Kaggle by P. Mooney: 16 films of train are val, and the tree is in it twice",
        {"train/NORMAL": 1341, "train/PNEUMONIA": 3875, "val/NORMAL": 8, "val/PNEUMONIA": 8, **_TEST},
    ),
}


def fetch(
    source: str,
    destination: Path,
    sha256: str | None = None,
    progress: bool = False,
    checksums: Path | None = None,
) -> Path:
    """Put a tree `{train,val,test}/{NORMAL,PNEUMONIA}/*` at `destination`, complete or not at all, and return that.

    `source` is a folder or archive with such a tree anywhere inside; the http(s) address of an archive (which may end
    in `#sha256=<hex>`); a name of `PUBLIC_COPIES`; or `dvc`, which pulls the data.dvc of the checkout around the
    destination. `sha256` is the archive's. `checksums` lists the tree's files in sha256sum's format; a
    `<folder>.sha256` beside a source folder is used by itself. A destination that holds the same tree is left as it
    is, one that holds anything else is refused. An interrupted download goes on at the next call, everything else
    begins again; of several calls at once one does the work. DVC alone writes in place: a pull that was killed has
    to be repeated.

    Raises `DataError` for a source that can't be read or is not what the checksums say, and for a destination that
    holds something else or can't be written.
    """
    destination = Path(destination)
    try:
        if source == "dvc":
            _fetch_dvc(destination, one_checksum(sha256), progress, checksums)
        elif source in PUBLIC_COPIES:
            _fetch_address(PUBLIC_COPIES[source].url, destination, sha256, progress, checksums)
            warn_of_other_counts(PUBLIC_COPIES[source], tree_at(destination))
        elif "://" in source:
            _fetch_address(source, destination, sha256, progress, checksums)
        else:
            _fetch_path(Path(source).expanduser(), destination, one_checksum(sha256), progress, checksums)
    except OSError as error:
        raise DataError(
            f"{destination} can't be filled ({error.strerror or error}): choose a folder in a place that can be "
            "written and has room, and that is no mount point itself."
        ) from error
    return destination


def warn_of_other_counts(copy: PublicCopy, tree: Tree) -> None:
    """Log a warning for each split/label that has another number of images than is documented for the copy."""
    counts = tree.counts()
    for folder in sorted({*copy.images, *counts}):
        if counts[folder] != copy.images.get(folder, 0):
            logger.warning("%s: %d images, documented are %d.", folder, counts[folder], copy.images.get(folder, 0))


def _fetch_path(path: Path, destination: Path, sha256: str | None, progress: bool, checksums: Path | None) -> None:
    if sha256 and path.is_dir():
        raise DataError(f"{path} is a folder, and the SHA-256 that of an archive: give a list of checksums instead.")
    if sha256 and path.is_file() and (found := sha256_of(path)) != sha256:
        raise DataError(f"{path} has the SHA-256 {found}, not {sha256}: get another copy of the archive.")
    with open_source(path) as files:
        tree = find_tree(files, str(path))
        if path.is_dir():
            checksums = checksums or list_beside(path / tree.prefix) or list_beside(path)
        with to_fill(destination, lambda: same_tree(tree, destination)) as wanted:
            if wanted:
                _write(tree, destination, progress, checksums)
            elif checksums:
                verify_checksums(destination, checksums, progress)


def _fetch_address(url: str, destination: Path, sha256: str | None, progress: bool, checksums: Path | None) -> None:
    address, sha256 = split_checksum(url, sha256)
    with to_fill(destination, lambda: _has_receipt(destination, address, sha256)) as wanted:
        if wanted:
            part = part_of(destination)
            download(address, part, sha256, progress)
            receipt = {"source": shown(address), "address": address_digest(address), "sha256": sha256_of(part)}
            try:
                with open_source(part) as files:
                    _write(find_tree(files, shown(address)), destination, progress, checksums, receipt)
            except DataError as error:
                # A full disk is no fault of the download; anything else would be the same the next time.
                if getattr(error.__cause__, "errno", None) is None:
                    discard(part)
                raise
        elif checksums:
            verify_checksums(destination, checksums, progress)


def _fetch_dvc(destination: Path, sha256: str | None, progress: bool, checksums: Path | None) -> None:
    if sha256:
        raise DataError("DVC verifies its files itself: leave the SHA-256 out, or give a list of checksums.")
    tracker = tracker_of(destination)
    if tracker is None:
        raise DataError(
            f"No {TRACKER} in a folder around {destination.absolute()}: give a destination in the checkout's data "
            "folder, or another source."
        )
    if importlib.util.find_spec("dvc") is None:
        raise DataError("DVC is not installed: pip install 'pneumonia[data]', or give another source.")
    with locked(destination):
        discard(part_of(destination))  # DVC refuses to pull into a folder with files it does not know
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "dvc", "pull", TRACKER],
            cwd=tracker.parent,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        said = (done.stderr or "see above").strip()[-_DVC_TAIL:]
        raise DataError(f"`dvc pull {TRACKER}` in {tracker.parent} failed; nothing was overwritten. DVC says: {said}")
    if missing := tree_at(destination).missing():
        raise DataError(
            f"{TRACKER} was pulled, but {destination} has no image in {', '.join(missing)}: give the folder of the "
            "tree that is in DVC as the destination."
        )
    if checksums:
        verify_checksums(destination, checksums, progress)


def _write(
    tree: Tree, destination: Path, progress: bool, checksums: Path | None, receipt: Mapping[str, str] | None = None
) -> None:
    with atomic_directory(destination) as staging:
        copy_tree(tree, staging, progress)
        if checksums:
            verify_checksums(staging, checksums, progress)
        if receipt:
            write_json(staging / _RECEIPT, {**receipt, "tree": tree.digest})


def _has_receipt(destination: Path, address: str, sha256: str | None) -> bool:
    try:
        receipt = json.loads((destination / _RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    expected = {"address": address_digest(address), "tree": tree_at(destination).digest}
    return isinstance(receipt, dict) and receipt.items() >= (expected | ({"sha256": sha256} if sha256 else {})).items()
