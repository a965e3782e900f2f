"""The files of a folder or an archive, every name and size checked before any byte is copied."""

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from pneumonia.errors import DataError

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_Reader = Callable[[], IO[bytes]]
_COMPRESSED: dict[bytes, Callable[..., object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZIP_ENCRYPTED = 0x1
# A tar header may claim a name of any length, which tarfile reads in one piece: names never need as much as this.
_LARGEST_READ = 2**20
# Writers pad a tar to a multiple of 10 KiB, or of their tape's blocks; more than this is no padding.
_LARGEST_PADDING = 2**24
# What the readers raise for bad bytes; RuntimeError covers NotImplementedError (a compression that is not read).
BAD_BYTES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error)
_BAD_VALUES = (ArithmeticError, EOFError, LookupError, RuntimeError, ValueError)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may unpack to: guards against bombs, far above any real data set of this kind."""

    max_files: int = 200_000
    max_bytes: int = 50 * 10**9


DEFAULT_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class SourceFile:
    """One file of a folder or archive: its relative name with forward slashes, its bytes, and how to read them."""

    name: str
    size: int
    open: _Reader


@contextmanager
def open_source(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[list[SourceFile]]:
    """Yield the files of a folder, or of a zip or tar archive (plain, gzip, bzip2, xz), told apart by their bytes.

    They are in the archive's order, which keeps a compressed tar fast, and can be read inside the `with` only. Hidden
    files and `__MACOSX` of a folder are passed over.

    Raises `DataError` for an archive that is damaged, encrypted or past the limits, that holds links, devices or names
    that lead out of it, and for what can't be read or, inside the `with`, written.
    """
    try:
        if path.is_dir():
            yield list_folder(path)
        elif path.is_file():
            with _open_archive(path, limits) as files:
                yield files
        else:
            raise DataError(
                f"No data source at {path}: give a folder, an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz), "
                "its http(s) address, `mendeley`, `kaggle` or `dvc`."
            )
    except OSError as error:
        if error.errno is None:  # what gzip and bz2 raise for bad bytes
            raise _damaged(path, error) from error
        where = f" ({error.filename})" if error.filename else ""
        raise DataError(
            f"Copying from {path} failed: {error.strerror}{where}. Check the permissions and the room there."
        ) from error
    except (*BAD_BYTES, *_BAD_VALUES) as error:
        raise _damaged(path, error) from error


def list_folder(root: Path) -> list[SourceFile]:
    """The files below a folder in the order of their names, without hidden ones and `__MACOSX`; links are followed."""
    files: list[SourceFile] = []

    def walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link back to where we came from
            return
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    walk(folder / entry.name, f"{prefix}{entry.name}/", above | {here})
                elif entry.is_file() or entry.is_symlink():  # reading a broken link fails: no tree is silently short
                    size = entry.stat().st_size if entry.is_file() else 0
                    read = cast("_Reader", partial(Path.open, folder / entry.name, "rb"))
                    files.append(SourceFile(f"{prefix}{entry.name}", size, read))

    walk(root, "", frozenset())
    return files


@contextmanager
def _open_archive(path: Path, limits: ArchiveLimits) -> Iterator[list[SourceFile]]:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(_ZIP_MAGIC):
        with zipfile.ZipFile(path) as zipped:
            yield _zip_files(zipped, limits)
        return
    opener = next((opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), Path.open)
    with cast("IO[bytes]", opener(path, "rb")) as stream:
        bounded = cast("IO[bytes]", _BoundedReads(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as tarred:
            yield _tar_files(tarred, stream, limits)


def _zip_files(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[SourceFile]:
    guard, files = _Guard(limits), []
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        name = guard.admit(entry.orig_filename, entry.file_size, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        if entry.flag_bits & _ZIP_ENCRYPTED:
            raise DataError("The archive is encrypted: unpack it with its password and give the folder.")
        if not entry.is_dir():
            files.append(SourceFile(name, entry.file_size, partial(archive.open, entry)))
    return files


def _tar_files(archive: tarfile.TarFile, stream: IO[bytes], limits: ArchiveLimits) -> list[SourceFile]:
    guard, files = _Guard(limits), []
    for member in archive:
        name = guard.admit(member.name, member.size, member.isfile() or member.isdir())
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4; the guard is the stricter one
            tarfile.data_filter(member, "/unpacked")
        if member.isfile():
            files.append(SourceFile(name, member.size, cast("_Reader", partial(archive.extractfile, member))))
    # tarfile takes a header that is cut off, or damaged, for the end: only a block of zeros is the end (POSIX ustar).
    stream.seek(archive.offset)
    end, padding = stream.read(tarfile.BLOCKSIZE), stream.read(_LARGEST_PADDING)
    if end != bytes(tarfile.BLOCKSIZE) or stream.read(1):
        raise tarfile.ReadError("it has no proper end")
    if padding.strip(b"\0"):
        raise tarfile.ReadError("something follows its end")
    return files


class _Guard:
    """Counts what an archive lists and refuses what is too much, no plain file, or named to lead out of a folder."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self.limits, self.files, self.bytes = limits, 0, 0

    def admit(self, name: str, size: int, plain: bool) -> str:
        """The name with forward slashes: some archives made on Windows have the others."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name:
            raise DataError(f"The archive is refused: the name {name!r} leads out of it. Use another copy of the data.")
        if not plain:
            raise DataError(f"The archive is refused: {name!r} is a link or a device. Pack plain files only.")
        if size < 0:
            raise ValueError("a negative size")
        self.files, self.bytes = self.files + 1, self.bytes + size
        if self.files > self.limits.max_files or self.bytes > self.limits.max_bytes:
            raise DataError(
                f"The archive is refused: it unpacks to more than {self.limits.max_files:,} files "
                f"or {self.limits.max_bytes:,} bytes. Unpack it yourself and give the folder."
            )
        return str(path)


class _BoundedReads:
    """A stream that refuses to read a large piece at once: tarfile takes a hostile header's word for its length."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.seek, self.tell, self._read = stream.seek, stream.tell, stream.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise tarfile.ReadError("a header is too large")
        return self._read(size)


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return DataError(
        f"{path} is no whole .zip or .tar archive (plain, .gz, .bz2 or .xz): {reason}. "
        "Download or copy it again, or unpack it yourself and give the folder."
    )
