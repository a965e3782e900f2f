"""Fetching the data set: from every kind of source, whole or not at all, however often it is interrupted."""

import hashlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pneumonia.data.fetch import PUBLIC_COPIES, PublicCopy, fetch, warn_of_other_counts
from pneumonia.data.tree import tree_at
from pneumonia.errors import DataError

FOLDERS = ("train/NORMAL", "train/PNEUMONIA", "val/NORMAL", "val/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA")
CALL = "import sys, pathlib, pneumonia.data.fetch as data; data.fetch(sys.argv[1], pathlib.Path(sys.argv[2]))"


def make_tree(root: Path, content: str = "") -> Path:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        for number in range(2):
            (root / folder / f"{number}.jpeg").write_bytes(f"{folder} {number} {content}".encode() * 100)
    return root


def content_of(root: Path) -> dict[str, bytes]:
    """Every file below a folder that is not hidden."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def left_beside(destination: Path) -> list[str]:
    """What is in the destination's folder but itself and its lock."""
    return sorted(
        {path.name for path in destination.parent.iterdir()} - {destination.name, f".{destination.name}.lock"}
    )


def write_list(root: Path) -> Path:
    lines = [f"{hashlib.sha256(data).hexdigest()}  ./{path}\n" for path, data in sorted(content_of(root).items())]
    checksums = root.with_name(f"{root.name}.sha256")
    checksums.write_text("".join(lines))
    return checksums


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "source" / "chest_xray")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "checkout" / "data" / "chest_xray"


@pytest.fixture
def archive(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.make_archive(str(tmp_path / "site" / "data"), "zip", source.parent))


class Requests(list[str]):
    """The paths asked for; bodies are sent once `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.released.set()


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, requests: Requests, **options: object) -> None:
        self.requests = requests
        super().__init__(*arguments, **options)

    def log_message(self, *arguments: object) -> None:
        pass

    def copyfile(self, source: object, outputfile: object) -> None:
        self.requests.append(self.path)
        self.requests.released.wait()
        super().copyfile(source, outputfile)


@pytest.fixture
def site(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Requests]]:
    """(address of the archive, the requests for it)."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    requests = Requests()
    handler = partial(Handler, requests=requests, directory=str(archive.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{archive.name}", requests
    requests.released.set()
    server.shutdown()
    server.server_close()


def test_a_folder_is_copied(source: Path, destination: Path) -> None:
    assert fetch(str(source), destination) == destination
    assert content_of(destination) == content_of(source)
    assert left_beside(destination) == []


def test_a_tree_somewhere_inside_a_folder_is_copied(source: Path, destination: Path) -> None:
    (source / "__MACOSX").mkdir()
    fetch(str(source.parent.parent / "source"), destination)
    assert content_of(destination) == content_of(source)


def test_only_images_and_the_mark_of_a_synthetic_tree_are_copied(source: Path, destination: Path) -> None:
    (source / "synthetic.json").write_text("{}")
    (source / "notes.txt").write_text("x")
    (source / "train" / "NORMAL" / "Thumbs.db").write_text("x")
    fetch(str(source), destination)
    assert set(content_of(source)) - set(content_of(destination)) == {"notes.txt", "train/NORMAL/Thumbs.db"}
    assert (destination / "synthetic.json").is_file()


def test_the_copy_of_a_read_only_folder_can_be_written(source: Path, destination: Path) -> None:
    for path in sorted(source.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    fetch(str(source), destination)
    modes = {path.stat().st_mode & 0o200 for path in (destination, *destination.rglob("*"))}
    for path in source.rglob("*"):
        path.chmod(0o755)
    assert modes == {0o200}


def test_the_copy_shares_no_file_with_its_source(source: Path, destination: Path) -> None:
    fetch(str(source), destination)
    assert {path.stat().st_nlink for path in destination.rglob("*.jpeg")} == {1}


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_an_archive_is_unpacked(source: Path, destination: Path, tmp_path: Path, kind: str) -> None:
    fetch(shutil.make_archive(str(tmp_path / "data"), kind, source.parent.parent), destination)
    assert content_of(destination) == content_of(source)


def test_a_doubled_archive_with_macosx_files_gives_the_tree_once(
    source: Path, destination: Path, tmp_path: Path
) -> None:
    wanted = content_of(source)
    shutil.copytree(source, source / "chest_xray")
    shutil.copytree(source / "train", source / "__MACOSX" / "chest_xray" / "train")
    fetch(shutil.make_archive(str(tmp_path / "data"), "zip", source.parent), destination)
    assert content_of(destination) == wanted


@pytest.mark.parametrize("kind", ["folder", "zip", "gztar", "url"])
def test_a_second_call_changes_nothing(
    source: Path, destination: Path, tmp_path: Path, site: tuple[str, Requests], kind: str
) -> None:
    origin = {"folder": str(source), "url": site[0]}.get(kind)
    origin = origin or shutil.make_archive(str(tmp_path / "data"), kind, source.parent)
    fetch(origin, destination)
    before = {path: path.stat() for path in destination.rglob("*")}
    fetch(origin, destination)
    assert {path: path.stat() for path in destination.rglob("*")}.keys() == before.keys()
    assert all(path.stat().st_mtime_ns == status.st_mtime_ns for path, status in before.items() if path.is_file())
    assert len(site[1]) == (kind == "url")


def test_a_folder_and_an_archive_of_the_same_tree_are_the_same(source: Path, archive: Path, destination: Path) -> None:
    fetch(str(source), destination)
    fetch(str(archive), destination)
    assert content_of(destination) == content_of(source)


def test_a_destination_that_is_the_source_is_left_as_it_is(source: Path) -> None:
    before = content_of(source)
    fetch(str(source), source)
    assert content_of(source) == before


def test_a_tree_on_a_disk_that_can_not_be_written_is_found_there(source: Path, destination: Path) -> None:
    fetch(str(source), destination)
    (destination.parent / ".chest_xray.lock").unlink()
    fetch(str(source), destination)
    assert not (destination.parent / ".chest_xray.lock").exists()


@pytest.mark.parametrize("change", ["other bytes", "missing file", "extra file", "no tree", "a file"])
def test_a_destination_that_holds_something_else_is_refused_and_kept(
    source: Path, destination: Path, change: str
) -> None:
    fetch(str(source), destination)
    image = destination / "train" / "NORMAL" / "0.jpeg"
    if change == "other bytes":
        image.write_bytes(image.read_bytes()[::-1])
    elif change == "missing file":
        image.unlink()
    elif change == "extra file":
        image.with_name("9.jpeg").write_bytes(b"x")
    else:
        shutil.rmtree(destination)
        destination.write_bytes(b"x") if change == "a file" else destination.mkdir()
        if change == "no tree":
            (destination / "notes.txt").write_text("x")
    before = content_of(destination)
    with pytest.raises(DataError, match=r"holds something else.*nothing was overwritten.*Move or remove it"):
        fetch(str(source), destination)
    assert content_of(destination) == before


def test_an_empty_destination_is_filled(source: Path, destination: Path) -> None:
    destination.mkdir(parents=True)
    fetch(str(source), destination)
    assert content_of(destination) == content_of(source)


@pytest.mark.parametrize("missing", ["train/NORMAL", "test/PNEUMONIA"])
def test_a_source_without_a_label_is_refused_and_nothing_is_written(
    source: Path, destination: Path, missing: str
) -> None:
    shutil.rmtree(source / missing)
    with pytest.raises(DataError, match=f"no image in {missing}"):
        fetch(str(source), destination)
    assert not destination.parent.exists()


def test_a_destination_that_can_not_be_made_is_an_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match=r"File exists|Not a directory"):
        fetch(str(source), tmp_path / "file" / "chest_xray")


def test_the_list_beside_a_folder_is_used(source: Path, destination: Path) -> None:
    write_list(source)
    (source / "train" / "NORMAL" / "0.jpeg").write_bytes(b"rotten")
    with pytest.raises(DataError, match=r"1 files do not match .*chest_xray\.sha256.*\n.*train/NORMAL/0\.jpeg"):
        fetch(str(source), destination)
    assert not destination.exists()
    assert left_beside(destination) == []


@pytest.mark.parametrize("kind", ["folder", "archive", "url"])
def test_a_given_list_is_checked_for_every_kind_of_source_also_when_the_tree_is_there(
    source: Path, archive: Path, destination: Path, site: tuple[str, Requests], tmp_path: Path, kind: str
) -> None:
    right = write_list(source).rename(tmp_path / "right.sha256")
    wrong = write_list(make_tree(tmp_path / "other", "other"))
    origin = {"folder": str(source), "archive": str(archive), "url": site[0]}[kind]
    with pytest.raises(DataError, match="12 files do not match"):
        fetch(origin, destination, checksums=wrong)
    assert not destination.exists()
    fetch(origin, destination, checksums=right)
    with pytest.raises(DataError, match="12 files do not match"):
        fetch(origin, destination, checksums=wrong)
    assert content_of(destination) == content_of(source)


def test_the_checksum_of_an_archive_is_checked(archive: Path, destination: Path) -> None:
    with pytest.raises(DataError, match="not 0000"):
        fetch(str(archive), destination, sha256="0" * 64)
    assert not destination.exists()
    fetch(str(archive), destination, sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    assert destination.is_dir()


@pytest.mark.parametrize("sha256", ["0" * 64, "no hex"])
def test_a_checksum_for_a_folder_or_dvc_or_of_another_form_is_refused(
    source: Path, destination: Path, sha256: str
) -> None:
    for origin in (str(source), "dvc"):
        with pytest.raises(DataError, match=r"list of checksums|64 hexadecimal"):
            fetch(origin, destination, sha256=sha256)


def test_an_address_is_downloaded_and_unpacked(
    source: Path, archive: Path, destination: Path, site: tuple[str, Requests]
) -> None:
    fetch(f"{site[0]}#sha256={hashlib.sha256(archive.read_bytes()).hexdigest()}", destination)
    assert content_of(destination) == content_of(source)
    assert left_beside(destination) == []


def test_the_receipt_of_a_download_holds_no_secret_of_its_address(
    destination: Path, site: tuple[str, Requests]
) -> None:
    fetch(f"{site[0]}?token=secret", destination)
    receipt = (destination / ".fetched.json").read_text()
    assert "secret" not in receipt
    assert json.loads(receipt)["source"] == site[0]


@pytest.mark.parametrize("change", ["another address", "another checksum", "a lost file"])
def test_a_tree_of_another_download_is_refused_without_asking_the_server(
    destination: Path, site: tuple[str, Requests], change: str
) -> None:
    fetch(site[0], destination)
    if change == "a lost file":
        (destination / "train/NORMAL/0.jpeg").unlink()
    with pytest.raises(DataError, match="something else"):
        fetch(
            f"{site[0]}?v=2" if change == "another address" else site[0],
            destination,
            sha256="0" * 64 if change == "another checksum" else None,
        )
    assert len(site[1]) == 1


def test_a_download_that_is_no_archive_is_not_kept(
    destination: Path, archive: Path, site: tuple[str, Requests]
) -> None:
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="no whole"):
        fetch(site[0], destination)
    assert left_beside(destination) == []


def test_another_source_clears_away_a_download_that_was_begun(
    source: Path, destination: Path, site: tuple[str, Requests]
) -> None:
    destination.parent.mkdir(parents=True)
    for name in (".chest_xray.part", ".chest_xray.part.json"):
        (destination.parent / name).write_text("{}")
    fetch(str(source), destination)
    assert left_beside(destination) == []


def test_what_is_not_there_is_an_error_that_says_what_to_do(destination: Path, site: tuple[str, Requests]) -> None:
    with pytest.raises(DataError, match=r"HTTP 404.*check the address"):
        fetch(site[0].replace("data.zip", "missing.zip"), destination)
    with pytest.raises(DataError, match="give a folder, an archive"):
        fetch("missing", destination)
    with pytest.raises(DataError, match="https://"):
        fetch("file:///etc", destination)


# The process dies by a signal of the kernel as it writes past 64 KiB: at a known point, without any clean-up.
DIE_IN_A_LARGE_FILE = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    f"resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16)); {CALL}"
)


@pytest.mark.parametrize("kind", ["folder", "zip", "gztar"])
def test_a_copy_that_was_killed_leaves_no_tree_and_is_cleared_away_by_the_next(
    source: Path, destination: Path, tmp_path: Path, kind: str
) -> None:
    (source / "train" / "PNEUMONIA" / "large.jpeg").write_bytes(bytes(2**18))
    origin = str(source) if kind == "folder" else shutil.make_archive(str(tmp_path / "data"), kind, source.parent)
    died = subprocess.run([sys.executable, "-c", DIE_IN_A_LARGE_FILE, origin, str(destination)], check=False)
    assert died.returncode == -signal.SIGXFSZ
    assert not destination.exists()
    assert len(left_beside(destination)) == 1
    fetch(origin, destination)
    assert content_of(destination) == content_of(source)
    assert left_beside(destination) == []


def test_a_full_disk_keeps_the_download(source: Path, destination: Path, site: tuple[str, Requests]) -> None:
    (source / "train" / "PNEUMONIA" / "large.jpeg").write_bytes(bytes(2**18))
    shutil.make_archive(str(source.parents[1] / "site" / "data"), "zip", source.parent)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16)); {CALL}"
    failed = subprocess.run(
        [sys.executable, "-c", limited, site[0], str(destination)], check=False, capture_output=True
    )
    assert b"DataError: Copying from" in failed.stderr
    assert left_beside(destination) == [".chest_xray.part", ".chest_xray.part.json"]
    fetch(site[0], destination)
    assert len(site[1]) == 1
    assert content_of(destination) == content_of(source)


def test_of_two_processes_at_once_one_does_the_work(
    source: Path, destination: Path, site: tuple[str, Requests]
) -> None:
    url, requests = site
    requests.released.clear()
    command = [
        sys.executable,
        "-c",
        f"import logging; logging.basicConfig(level='INFO'); {CALL}",
        url,
        str(destination),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        while not requests:
            assert first.poll() is None
            time.sleep(0.01)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            assert "waiting for it" in second.stderr.readline()
            requests.released.set()
            assert (first.wait(), second.wait()) == (0, 0)
    assert len(requests) == 1
    assert content_of(destination) == content_of(source)


def test_the_public_copies_document_as_many_images_as_the_data_set_has() -> None:
    assert {copy.files for copy in PUBLIC_COPIES.values()} == {5856}
    assert all(copy.url.startswith("https://") and copy.licence == "CC BY 4.0" for copy in PUBLIC_COPIES.values())


def test_other_numbers_of_images_than_documented_are_warned_of(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    documented = dict.fromkeys(FOLDERS, 2)
    with caplog.at_level(logging.WARNING):
        warn_of_other_counts(PublicCopy("https://host", "", documented), tree_at(source))
        assert caplog.messages == []
        warn_of_other_counts(PublicCopy("https://host", "", {**documented, "test/NORMAL": 234}), tree_at(source))
    assert caplog.messages == ["test/NORMAL: 2 images, documented are 234."]
