"""Decoded images on disk: uint8, memory-mapped, written once by however many processes ask, never half-valid."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from pneumonia.data.manifest import Manifest, summarise_failures
from pneumonia.errors import DataError, ImageError
from pneumonia.files import write_json
from pneumonia.images import DECODER_VERSION, read_radiograph
from pneumonia.parallel import map_films

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGES = "images.npy"
_DONE = "done.npy"
_META = "meta.json"
_CHUNK = 256


def cache_key(manifest: Manifest, size: int) -> str:
    """Name of the cache of a manifest at a size: it changes with the files, their order, the size and the decoder."""
    return hashlib.sha256(f"{manifest.digest}:{size}:{DECODER_VERSION}".encode()).hexdigest()[:16]


def open_cache(manifest: Manifest, size: int, directory: Path | str, progress: bool = False) -> "NDArray[np.uint8]":
    """The manifest's images as a read-only memory map of shape (rows, size, size), uint8; decoded on first use.

    The first process that asks decodes, the others wait. A build that was interrupted goes on where it stopped; the
    cache gets its name only when every image is in it. Raises `DataError` naming the files that can't be decoded,
    and when the disk is too small.
    """
    directory = Path(directory)
    final = directory / cache_key(manifest, size)
    if not _is_complete(final, manifest, size):
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / f"{final.name}.lock"):
            if not _is_complete(final, manifest, size):
                _build(manifest, size, final, progress)
    images: NDArray[np.uint8] = np.load(final / _IMAGES, mmap_mode="r")
    return images


def _is_complete(final: Path, manifest: Manifest, size: int) -> bool:
    """Whether the cache is whole; one whose files were cut or lost since is made again."""
    try:
        meta = json.loads((final / _META).read_text(encoding="utf-8"))
        images = np.lib.format.open_memmap(final / _IMAGES, mode="r")
    except (OSError, ValueError):
        return False
    return bool(meta == _meta(manifest, size)) and images.shape == _shape(manifest, size) and images.dtype == np.uint8


def _meta(manifest: Manifest, size: int) -> dict[str, object]:
    return {"manifest": manifest.digest, "rows": len(manifest.rows), "size": size, "decoder": DECODER_VERSION}


def _shape(manifest: Manifest, size: int) -> tuple[int, int, int]:
    return (len(manifest.rows), size, size)


def _build(manifest: Manifest, size: int, final: Path, progress: bool) -> None:
    from tqdm import tqdm

    shutil.rmtree(final, ignore_errors=True)
    partial = final.with_name(final.name + ".partial")
    _check_space(final.parent, int(np.prod(_shape(manifest, size))))
    images, done = _open_partial(partial, manifest, size)
    paths = manifest.paths()
    failures: list[str] = []

    def decode(row: int) -> None:
        try:
            images[row] = read_radiograph(paths[row], size).pixels
        except ImageError as error:
            failures.append(f"{manifest.rows[row].path}: {error}")

    missing = np.flatnonzero(done == 0)
    with tqdm(
        total=len(paths), initial=len(paths) - len(missing), desc="decode", unit="file", disable=not progress
    ) as bar:
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            map_films(decode, chunk.tolist())
            # Pixels reach the disk before the marks that vouch for them.
            images.flush()
            if not failures:
                done[chunk] = 1
                done.flush()
            bar.update(len(chunk))
    if failures:
        raise DataError(summarise_failures(failures, f"of {len(paths)} files under {manifest.root} can't be decoded"))
    write_json(partial / _META, _meta(manifest, size))
    (partial / _DONE).unlink()
    os.replace(partial, final)


def _open_partial(
    partial: Path, manifest: Manifest, size: int
) -> tuple["np.memmap[tuple[int, ...], np.dtype[np.uint8]]", "np.memmap[tuple[int, ...], np.dtype[np.uint8]]"]:
    """The arrays of a build: taken up again when they have the right form, else made new."""
    shape = _shape(manifest, size)
    try:
        for name in (_IMAGES, _DONE):
            np.lib.format.open_memmap(partial / name, mode="r")  # to write, a file that was cut would be filled up
        images = np.lib.format.open_memmap(partial / _IMAGES, mode="r+")
        done = np.lib.format.open_memmap(partial / _DONE, mode="r+")
        if images.shape == shape and done.shape == shape[:1] and images.dtype == done.dtype == np.uint8:
            return images, done
    except (OSError, ValueError):
        pass
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    images = np.lib.format.open_memmap(partial / _IMAGES, mode="w+", dtype=np.uint8, shape=shape)
    done = np.lib.format.open_memmap(partial / _DONE, mode="w+", dtype=np.uint8, shape=shape[:1])
    return images, done


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed * 1.05:
        raise DataError(
            f"The image cache needs {needed / 1e6:,.0f} MB in {directory}, which has {free / 1e6:,.0f} MB free; "
            "free some, or choose another data.cache_dir."
        )
