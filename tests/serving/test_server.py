"""The app that is built around the LitAPI, and what its processes load."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient

from pneumonia.bundle import load_bundle
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.serving.schema import ErrorBody
from pneumonia.serving.server import Server, ServerOptions, build_server
from pneumonia.serving.vitals import State

if TYPE_CHECKING:
    from tests.serving.conftest import Running


@pytest.fixture(scope="module")
def built(bundle_dir: Path) -> Server:
    """A server that is built but has no processes."""
    return build_server(load_bundle(bundle_dir), "best", ServerOptions(workers=2, limits=DEFAULT_LIMITS))


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        (State.STARTING, 503, "starting"),
        (State.REPLACING, 503, "starting"),
        (State.FAILING, 503, "starting"),
        (State.READY, 200, "ok"),
    ],
)
def test_health_tells_whether_films_can_be_sent(built: Server, state: State, status: int, said: str) -> None:
    built.vitals.report(state, workers_ready=1)
    client = TestClient(built.app)
    response = client.get("/health")
    assert (response.status_code, response.json()) == (status, {"status": said})
    assert client.get("/health/live").status_code == 200


def test_a_failure_of_the_server_itself_is_told_without_its_trace(
    built: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the folder that `pneumonia serve` makes for them there are no metrics to add up.
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    response = TestClient(built.app, raise_server_exceptions=False).get("/metrics", headers={"X-Request-ID": "visit-7"})
    assert response.status_code == 500
    body = ErrorBody.model_validate(response.json(), strict=True)
    assert (body.error.code, body.request_id, response.headers["x-request-id"]) == (
        "internal_error",
        "visit-7",
        "visit-7",
    )
    assert "Error" not in body.error.message
    assert "/" not in body.error.message


def test_model_info_names_the_alias_it_was_asked_for_by(built: Server) -> None:
    assert TestClient(built.app).get("/model/info").json()["alias"] == "best"


class TestWithoutTorch:
    """Serving and what it builds on never load torch."""

    def test_no_module_of_it_imports_torch(self) -> None:
        code = (
            "import importlib, pkgutil, sys\n"
            "for name in ('serving', 'inference', 'evaluation', 'registry'):\n"
            "    package = importlib.import_module(f'pneumonia.{name}')\n"
            "    for module in pkgutil.walk_packages(package.__path__, f'pneumonia.{name}.'):\n"
            "        importlib.import_module(module.name)\n"
            "assert 'pneumonia.serving.server' in sys.modules and 'pneumonia.inference.predictor' in sys.modules\n"
            "print([name for name in sys.modules if name.partition('.')[0] in ('torch', 'lightning', 'torchvision')])\n"
        )
        assert run(code) == "[]"

    @pytest.mark.slow
    def test_neither_does_the_page(self) -> None:
        pytest.importorskip("gradio")
        assert run("import sys, pneumonia.demo.page\nprint('torch' in sys.modules)") == "False"

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
    def test_no_process_of_a_server_that_has_predicted_maps_a_torch_library(
        self, talkative: "Running", film: bytes
    ) -> None:
        assert httpx.post(f"{talkative.url}/predict", files={"file": film}, timeout=60).status_code == 200
        maps = [Path(f"/proc/{process.pid}/maps").read_text() for process in talkative.family()]
        assert len(maps) >= 6  # the parent, multiprocessing's tracker, two that speak HTTP, two with an engine
        assert sum("onnxruntime" in text for text in maps) >= 2
        assert not any("torch" in text for text in maps)


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
