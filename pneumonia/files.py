"""Files that are whole or not there at all, and the hashes that prove it."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LONGEST_NAME = 240  # bytes: what is put around it may take 15 more of the 255 of a file system


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`, else removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "tmp")
    # With these permissions, and not with a temporary file's, it gets what the user's umask grants to any file.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path | str, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; on success it is flushed and renamed to `path`, else removed.

    Raises `FileExistsError` when `path` is there and `replace` is false. With `replace` the old directory is moved
    aside first, so that a reader sees the old one, for an instant none, then the new one; never a mixture.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file() and not file.is_symlink():
                _flush(file)
        _move_into_place(temporary, path, replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sha256_of(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path: Path, suffix: str) -> Path:
    """A hidden name of its own in the folder of `path`: a rename within one folder is atomic.

    A killed process leaves it behind; `data.destination` knows such names and clears them away.
    """
    name = path.name.encode(errors="replace")[:_LONGEST_NAME].decode(errors="ignore")
    return path.parent / f".{name}.{secrets.token_hex(4)}.{suffix}"


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move_into_place(directory: Path, path: Path, replace: bool) -> None:
    retired = _beside(path, "old")
    if replace and path.exists():
        os.replace(path, retired)
    try:
        # A rename alone would take the place of an empty directory that another process has just made.
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        os.rename(directory, path)
    finally:
        if retired.exists() and not path.exists():
            os.replace(retired, path)
        elif retired.is_dir():
            shutil.rmtree(retired, ignore_errors=True)
        else:
            retired.unlink(missing_ok=True)
