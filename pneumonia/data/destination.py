"""A folder that one process at a time may fill, once: the lock, what interrupted calls left, and what is there."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pneumonia.data.download import discard
from pneumonia.errors import DataError

TRACKER = "data.dvc"

logger = logging.getLogger(__name__)


@contextmanager
def to_fill(destination: Path, is_same: Callable[[], bool]) -> Iterator[bool]:
    """Yield whether `destination` is to be filled: true, alone and with it absent, or false when it is there already.

    Leftovers of interrupted calls are removed, a partial download only once the destination is filled. Raises
    `DataError` when the destination holds what `is_same` does not know.
    """
    if _is_filled(destination, is_same):  # without the lock: such a tree may be on a disk that can't be written
        yield False
        return
    with locked(destination):
        if _is_filled(destination, is_same):
            yield False
            return
        if destination.is_dir():
            destination.rmdir()
        yield True
        discard(part_of(destination))


@contextmanager
def locked(destination: Path) -> Iterator[None]:
    """Hold the destination's lock, waiting for it; what a killed process left beside the destination is removed."""
    lock = FileLock(_lock_path(destination))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("Another process is filling %s; waiting for it.", destination)
        lock.acquire()
    try:
        _remove_leftovers(destination)
        yield
    finally:
        lock.release()


def part_of(destination: Path) -> Path:
    """Where the archive for `destination` is downloaded to."""
    return destination.with_name(f".{destination.name}.part")


def tracker_of(destination: Path) -> Path | None:
    """The data.dvc in the nearest folder around the destination that has one."""
    return next((path for parent in destination.absolute().parents if (path := parent / TRACKER).is_file()), None)


def _is_filled(destination: Path, is_same: Callable[[], bool]) -> bool:
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return False
    if destination.is_dir() and is_same():
        return True
    raise DataError(
        f"{destination} holds something else than this source, or not all of it; nothing was overwritten. "
        "Move or remove it, or choose another destination."
    )


def _lock_path(destination: Path) -> Path:
    """Beside the destination; in a DVC checkout in DVC's own folder, as DVC refuses to pull beside strange files."""
    tracker = tracker_of(destination)
    if tracker and (tracker.parent / ".dvc").is_dir():
        path = tracker.parent / ".dvc" / "tmp" / "fetch.lock"
    else:
        path = destination.with_name(f".{destination.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _remove_leftovers(destination: Path) -> None:
    """Remove the temporaries of `atomic_directory` and `write_json`; under the lock they are nobody's any more."""
    name = re.escape(destination.name)
    left = re.compile(rf"\.({name}|\.{name}\.part\.json)\.[a-z0-9_]{{8}}\.tmp")
    if destination.parent.is_dir():
        for path in destination.parent.iterdir():
            if left.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
