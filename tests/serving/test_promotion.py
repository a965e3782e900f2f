"""A bundle's way from training to being served by alias, and back: through the commands, and a server that stays."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pneumonia.bundle import graph_version, load_bundle, write_bundle
from pneumonia.registry.local import LocalRegistry
from tests.registry.conftest import make_bundle

if TYPE_CHECKING:
    from tests.conftest import Command
    from tests.serving.conftest import Running

pytestmark = pytest.mark.slow

Registry = Callable[..., "tuple[int, str]"]

# What a run of seconds reaches is not the matter here: it calls every film pneumonia.
EASY = ("--min-specificity", "0")


@pytest.fixture
def registry(command: "Command", tmp_path: Path) -> Registry:
    """`pneumonia registry ...` on a registry of the test's own: exit code, and what was said on both streams."""

    def run(*words: object) -> tuple[int, str]:
        done = command("registry", "--root", tmp_path / "registry", *words)
        return done.returncode, done.stdout + done.stderr

    return run


def test_fit_candidate_tests_best_served_and_back(
    registry: Registry, starter: "Callable[..., Running]", bundle_dir: Path, tree: Path, film: bytes, tmp_path: Path
) -> None:
    assert registry("push", bundle_dir) == (0, "pushed cnn:v1 ['candidate']\n")
    code, said = registry("promote", "candidate")
    assert code == 1
    assert "its staged tests were not run" in said
    code, said = registry("test", "cnn:candidate", "--data", tree, *EASY)
    assert code == 0, said
    assert registry("promote", "candidate") == (0, "promoted cnn:v1 to best\n")

    server = starter("--registry", "best", bundle=False, env=served_from(tmp_path / "registry"))
    first = load_bundle(bundle_dir)
    assert asked(server, film)["model"] == first.label

    threshold = first.operating_point.threshold - 1e-4  # no film lies between: another version that decides alike
    second = make_second(bundle_dir, tmp_path / "second", threshold)
    code, said = registry("push", second, "--promote", "--data", tree, *EASY)
    assert "promoted cnn:v2 to best" in said
    follow(server)
    assert asked(server, film)["model"] == load_bundle(second).label != first.label
    assert asked(server, film)["threshold"] == threshold

    registry("push", make_bundle(second, tmp_path / "good", "good"), "--promote", *EASY)
    registry("promote", "good:v1", "--force", "--reason", "it held out more films")
    for refused, words in {
        make_bundle(second, tmp_path / "worse", "worse", wrong=100): "worse than the present best, good:",
        make_bundle(second, tmp_path / "phantom", "phantom", synthetic=True): "it was trained on synthetic phantoms",
    }.items():
        code, said = registry("push", refused, "--promote", *EASY)
        assert code == 0
        assert "not promoted: " in said
        assert words in said
    registry("rollback")
    assert LocalRegistry(tmp_path / "registry").find("best").reference == "cnn:v2"

    process = server.process.pid
    assert registry("rollback", "--reason", "misses lateral films") == (0, "rolled back: cnn:v1 is best\n")
    follow(server)
    assert asked(server, film)["model"] == first.label
    assert server.process.pid == process
    assert server.process.poll() is None
    _, said = registry("show", asked(server, film)["model"])
    assert "rollback" in said
    assert "misses lateral films" in said


def make_second(source: Path, directory: Path, threshold: float) -> Path:
    """The same network at another threshold, with its real answers and figures."""
    shutil.copytree(source, directory)
    bundle = load_bundle(source)
    point = replace(bundle.operating_point, threshold=threshold)
    write_bundle(
        replace(bundle, directory=directory, operating_point=point, version=graph_version(bundle.graph, point))
    )
    return directory


def served_from(root: Path) -> dict[str, str]:
    return {**os.environ, "PNEUMONIA_REGISTRY": str(root)}


def asked(server: "Running", film: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{server.url}/predict", files={"file": film}, timeout=60).json()
    return answer


def follow(server: "Running") -> None:
    """Have it look its alias up again, and wait until it serves what it found."""
    before = server.text.count("Now serving")
    server.process.send_signal(signal.SIGHUP)
    server.eventually(lambda: server.text.count("Now serving") > before)


def test_everything_about_a_prediction_in_one_command(
    registry: Registry, bundle_dir: Path, server: str, film: bytes
) -> None:
    model = httpx.post(f"{server}/predict", files={"file": film}, timeout=60).json()["model"]
    registry("push", bundle_dir, "--promote", *EASY)
    code, said = registry("show", model, "--json")
    assert code == 0
    shown, bundle = json.loads(said), load_bundle(bundle_dir)
    assert (shown["reference"], shown["model"], shown["aliases"]) == ("cnn:v1", model, ["candidate", "best"])
    assert shown["git"] == bundle.provenance["git"]
    assert shown["data"]["digest"] == bundle.provenance["data"]["digest"]
    assert shown["config"]["model"] == bundle.provenance["model"]
    assert shown["metrics"]["validation"]["auroc"] == bundle.metrics["validation"]["auroc"]["value"]
    assert shown["staged"]["passed"]
    assert [event["action"] for event in shown["promotions"]] == ["promote"]
    _, told = registry("show", model)
    for words in (model, "run ", "commit ", "data ", "config ", "validation ", "staged      passed", "promote "):
        assert words in told
