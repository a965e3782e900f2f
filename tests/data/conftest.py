"""A checkout of the project with Git and DVC, its own data set and its own remote."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PARTS = (
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "Makefile",
    "configs",
    "constraints.txt",
    "dvc.yaml",
    "params.yaml",
    "pneumonia",
    "pyproject.toml",
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_in(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A command in a checkout, with this Python's commands first on the path, and nothing of the user's settings."""
    pytest.importorskip("dvc", reason="needs pneumonia[data]")
    if shutil.which("git") is None:
        pytest.skip("needs git")
    # The checkout runs its own copy of the package: it is not what coverage is about.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("COVERAGE_", "COV_CORE_"))}
    environment = {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_NO_ANALYTICS": "1",
        # Else gcsfs asks by gRPC for the kind of a bucket: an emulator has no such interface, and gcsfs waits long.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "DVC_SITE_CACHE_DIR": str(tmp_path_factory.mktemp("dvc-site")),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    environment.pop("PYTHONPATH", None)

    def run(folder: Path, *words: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def make_in(run_in: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`make` with this Python's packages in place of an environment that it would install."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    environment = tmp_path_factory.mktemp("venv")
    (environment / "bin").mkdir()
    for name, module in (("dvc", "dvc"), ("pneumonia", "pneumonia"), ("python", "")):
        script = environment / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module and f"-m {module}"} "$@"\n')
        script.chmod(0o755)
    for marker in (".train", ".data", ".dev"):
        (environment / marker).touch()
        os.utime(environment / marker, (time.time() + 3600,) * 2)  # newer than what it was installed by
    return lambda folder, *words, **options: run_in(folder, "make", f"VENV={environment}", *words, **options)


@pytest.fixture(scope="session")
def committed(run_in: Run, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit of a copy of the project, with the session's films as the data that `data.dvc` names."""
    folder = tmp_path_factory.mktemp("project") / "checkout"
    for part in PARTS:
        source, target = PROJECT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "reference"))
        else:
            shutil.copy(source, target)
    parameters = (folder / "params.yaml").read_text()
    assert "config: configs/cnn.yaml" in parameters
    (folder / "params.yaml").write_text(parameters.replace("configs/cnn.yaml", "configs/debug.yaml"))
    shutil.copytree(tree, folder / "data" / "chest_xray")
    run_in(folder, "git", "init", "-q")
    run_in(folder, "dvc", "add", "-q", "data")
    commit(run_in, folder)
    return folder


def commit(run_in: Run, folder: Path) -> None:
    """Commit all there is."""
    run_in(folder, "git", "add", "--all")
    run_in(folder, "git", "commit", "-q", "--message", "test")
