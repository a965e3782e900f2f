"""`make data-push` and `make data-pull`, against a folder and against Google Cloud Storage's API on this machine."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(committed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(committed, tmp_path / "checkout"))


@pytest.fixture
def emulator(free_port: int) -> Iterator[str]:
    """The address of an emulator of Google Cloud Storage with a bucket `films`."""
    pytest.importorskip("gcp_storage_emulator", reason="needs pneumonia[dev]")
    words = ["start", "--host=127.0.0.1", f"--port={free_port}", "--default-bucket=films", "--in-memory", "--quiet"]
    program = "from gcp_storage_emulator.__main__ import main; main()"
    with subprocess.Popen([sys.executable, "-c", program, *words]) as process:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", free_port)) == 0:
                    break
            assert process.poll() is None, "the emulator ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{free_port}"
        process.terminate()


def content_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def pushed_and_pulled(checkout: Path, make_in: Run, remote: str) -> None:
    films = content_of(checkout / "data")
    make_in(checkout, "data-push", f"DVC_REMOTE={remote}")
    shutil.rmtree(checkout / "data")
    shutil.rmtree(checkout / ".dvc" / "cache")
    make_in(checkout, "data-pull")
    assert content_of(checkout / "data") == films


def test_films_come_back_from_a_folder(checkout: Path, make_in: Run, run_in: Run, tmp_path: Path) -> None:
    pushed_and_pulled(checkout, make_in, str(tmp_path / "store"))
    assert not run_in(checkout, "git", "status", "--porcelain").stdout  # the name stays on this machine


def test_films_come_back_from_google_cloud_storage(checkout: Path, make_in: Run, run_in: Run, emulator: str) -> None:
    for option, value in (("endpointurl", emulator), ("allow_anonymous_login", "true")):
        run_in(checkout, "dvc", "remote", "modify", "--local", "storage", option, value)
    pushed_and_pulled(checkout, make_in, "gs://films/pneumonia")


def test_a_changed_film_is_pushed_under_a_hash_of_its_own(checkout: Path, make_in: Run, tmp_path: Path) -> None:
    film = next((checkout / "data" / "chest_xray" / "test" / "NORMAL").iterdir())
    before = (checkout / "data.dvc").read_bytes()
    film.write_bytes(film.read_bytes() + b"\0")
    said = make_in(checkout, "data-push", f"DVC_REMOTE={tmp_path / 'store'}").stdout
    assert "data.dvc changed: commit it." in said
    assert (checkout / "data.dvc").read_bytes() != before


def test_a_remote_that_nobody_named_is_asked_for(checkout: Path, make_in: Run) -> None:
    for target in ("data-push", "data-pull"):
        done = make_in(checkout, target, check=False)
        assert done.returncode != 0
        assert "DVC_REMOTE=gs://bucket/path" in done.stderr
