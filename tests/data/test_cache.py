"""The cache holds exactly what decoding gives, and is whole or not there, whatever happens while it is made."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.data.cache import cache_key, open_cache
from pneumonia.data.manifest import Manifest, scan_tree, write_manifest
from pneumonia.errors import DataError
from pneumonia.images import read_radiograph

SIZE = 32
OPEN = """
import sys
from pneumonia.data.cache import open_cache
from pneumonia.data.manifest import read_manifest
manifest = read_manifest(sys.argv[1], sys.argv[2])
print("ready", flush=True)
input()
print(int(open_cache(manifest, int(sys.argv[3]), sys.argv[4], progress=True).astype("int64").sum()))
"""


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "tree"))


@pytest.fixture
def open_in_process(tmp_path: Path) -> Iterator[Callable[[Manifest, Path], "subprocess.Popen[str]"]]:
    """`open_cache` in another process, which waits for a line before it and prints the sum of the pixels after it."""

    started: list[subprocess.Popen[str]] = []

    def start(manifest: Manifest, directory: Path) -> "subprocess.Popen[str]":
        write_manifest(manifest, tmp_path / "manifest.csv")
        words = [sys.executable, "-c", OPEN, tmp_path / "manifest.csv", manifest.root, SIZE, directory]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(list(map(str, words)), stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


def expected(manifest: Manifest, size: int = SIZE) -> np.ndarray:
    return np.stack([read_radiograph(path, size).pixels for path in manifest.paths()])


def test_the_cache_holds_the_pixels_that_decoding_gives(tree: Path, tmp_path: Path) -> None:
    manifest = scan_tree(tree)
    images = open_cache(manifest, SIZE, tmp_path)
    np.testing.assert_array_equal(images, expected(manifest))
    assert images.dtype == np.uint8


def test_a_cache_of_some_rows_holds_them_in_their_order(tree: Path, tmp_path: Path) -> None:
    some = scan_tree(tree).select([7, 3, 20])
    np.testing.assert_array_equal(open_cache(some, SIZE, tmp_path), expected(some))


def test_the_cache_is_mapped_and_can_not_be_written_to(tree: Path, tmp_path: Path) -> None:
    images = open_cache(scan_tree(tree), SIZE, tmp_path)
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_the_films_are_decoded_once_and_not_looked_at_again(own_tree: Path, tmp_path: Path) -> None:
    manifest = scan_tree(own_tree)
    first = np.array(open_cache(manifest, SIZE, tmp_path / "cache"))
    shutil.rmtree(own_tree)
    np.testing.assert_array_equal(open_cache(manifest, SIZE, tmp_path / "cache"), first)


def test_the_key_changes_with_the_size_the_files_and_their_order(tree: Path) -> None:
    manifest = scan_tree(tree)
    others = [manifest.select([1, 0]), manifest.select([0, 1]), manifest.select([0])]
    keys = {cache_key(manifest, 32), cache_key(manifest, 33), *(cache_key(other, 32) for other in others)}
    assert len(keys) == 5


def test_the_key_changes_with_the_decoder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = scan_tree(tree)
    before = cache_key(manifest, SIZE)
    monkeypatch.setattr("pneumonia.data.cache.DECODER_VERSION", 10**6)
    assert cache_key(manifest, SIZE) != before


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "images cut": lambda folder: cut(folder / "images.npy", 5000),
    "images cut in the header": lambda folder: cut(folder / "images.npy", 20),
    "images empty": lambda folder: cut(folder / "images.npy", 0),
    "images lost": lambda folder: (folder / "images.npy").unlink(),
    "images an archive": lambda folder: (folder / "images.npy").write_bytes(b"PK\3\4" + bytes(100)),
    "images of another shape": lambda folder: np.save(folder / "images.npy", np.zeros((2, SIZE, SIZE), np.uint8)),
    "images of another type": lambda folder: np.save(folder / "images.npy", np.zeros((96, SIZE, SIZE), np.int16)),
    "meta cut": lambda folder: cut(folder / "meta.json", 30),
    "meta empty": lambda folder: cut(folder / "meta.json", 0),
    "meta lost": lambda folder: (folder / "meta.json").unlink(),
    "meta no text": lambda folder: (folder / "meta.json").write_bytes(b"\xff\xff"),
    "meta of another decoder": lambda folder: (folder / "meta.json").write_text(
        json.dumps({**json.loads((folder / "meta.json").read_text()), "decoder": 0})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(tree: Path, tmp_path: Path, damage: str) -> None:
    manifest = scan_tree(tree)
    open_cache(manifest, SIZE, tmp_path)
    DAMAGES[damage](tmp_path / cache_key(manifest, SIZE))
    np.testing.assert_array_equal(open_cache(manifest, SIZE, tmp_path), expected(manifest))


@pytest.mark.parametrize("name", ["images.npy", "done.npy"])
@pytest.mark.parametrize("length", [0, 20, 130])
def test_a_damaged_unfinished_cache_is_begun_anew(tree: Path, tmp_path: Path, name: str, length: int) -> None:
    manifest = scan_tree(tree)
    partial = tmp_path / f"{cache_key(manifest, SIZE)}.partial"
    partial.mkdir()
    np.save(partial / "images.npy", np.zeros((96, SIZE, SIZE), np.uint8))
    np.save(partial / "done.npy", np.ones(96, np.uint8))
    cut(partial / name, length)
    np.testing.assert_array_equal(open_cache(manifest, SIZE, tmp_path), expected(manifest))


def test_a_film_that_can_not_be_decoded_is_named_and_leaves_no_cache(own_tree: Path, tmp_path: Path) -> None:
    path = "train/NORMAL/IM-0001-0000.jpeg"
    film = (own_tree / path).read_bytes()
    (own_tree / path).write_bytes(film[: len(film) // 2])
    manifest = scan_tree(own_tree)  # the header is whole
    with pytest.raises(DataError, match=rf"1 of 96 files .* can't be decoded.*\n  {path}: "):
        open_cache(manifest, SIZE, tmp_path / "cache")
    assert not (tmp_path / "cache" / cache_key(manifest, SIZE)).exists()


def test_a_build_that_failed_goes_through_once_the_film_is_repaired(own_tree: Path, tmp_path: Path) -> None:
    manifest = scan_tree(own_tree)
    path = own_tree / "train/NORMAL/IM-0001-0000.jpeg"
    film = path.read_bytes()
    path.write_bytes(b"damaged")
    with pytest.raises(DataError):
        open_cache(manifest, SIZE, tmp_path / "cache")
    path.write_bytes(film)
    np.testing.assert_array_equal(open_cache(manifest, SIZE, tmp_path / "cache"), expected(manifest))


def test_a_cache_that_does_not_fit_on_the_disk_is_refused_before_it_is_begun(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image cache needs [\d,]+ MB .* free some, or choose another data.cache_dir"):
        open_cache(scan_tree(tree), 10**7, tmp_path)


@pytest.mark.slow
def test_a_killed_build_goes_on_without_decoding_again_what_was_done(
    tmp_path: Path, open_in_process: Callable[[Manifest, Path], "subprocess.Popen[str]"]
) -> None:
    folder = tmp_path / "tree" / "train" / "NORMAL"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for film in range(600):  # ten films, large enough to take their time, under many names
        path, twin = folder / f"IM-{film:04}-0001.png", folder / f"IM-{film - 10:04}-0001.png"
        if film < 10:
            small = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8))
            small.resize((500, 500), Image.Resampling.BICUBIC).save(path, compress_level=1)
        else:
            path.hardlink_to(twin)
    manifest = scan_tree(tmp_path / "tree")
    done = tmp_path / "cache" / f"{cache_key(manifest, SIZE)}.partial" / "done.npy"

    process = open_in_process(manifest, tmp_path / "cache")
    process.stdin.write("\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    while process.poll() is None and not (done.exists() and done.stat().st_size >= 600 and np.load(done).any()):
        time.sleep(0.002)
    process.kill()
    process.wait()

    finished = np.flatnonzero(np.load(done))
    assert 0 < len(finished) < 600
    whole = np.tile(expected(manifest.select(range(10))), (60, 1, 1))
    for row in finished:
        path = manifest.paths()[row]
        path.unlink()
        path.write_bytes(b"not to be read again")
    np.testing.assert_array_equal(open_cache(manifest, SIZE, tmp_path / "cache"), whole)


def test_of_many_processes_that_ask_at_once_one_decodes(
    tree: Path, tmp_path: Path, open_in_process: Callable[[Manifest, Path], "subprocess.Popen[str]"]
) -> None:
    manifest = scan_tree(tree)
    processes = [open_in_process(manifest, tmp_path / "cache") for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [int(output) for output, _ in answers] == [expected(manifest).astype(np.int64).sum()] * 4
    assert sum("decode: " in progress for _, progress in answers) == 1


def test_of_many_threads_that_ask_at_once_one_decodes(
    tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = scan_tree(tree)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: np.array(open_cache(manifest, SIZE, tmp_path, progress=True)), range(4)))
    for answer in answers:
        np.testing.assert_array_equal(answer, expected(manifest))
    assert capfd.readouterr().err.count("decode:   0%") == 1


def test_the_order_of_building_does_not_show_in_another_size(tree: Path, tmp_path: Path) -> None:
    manifest = scan_tree(tree)
    for size in (24, 32, 24):
        np.testing.assert_array_equal(open_cache(manifest, size, tmp_path), expected(manifest, size))
