"""Engines by name: they agree, `auto` takes what the bundle says, and what is missing is said."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pneumonia.bundle import Bundle, load_bundle, write_bundle
from pneumonia.errors import BundleError, ConfigError, MissingLibraryError
from pneumonia.inference.engine import OUTPUTS, Engine
from pneumonia.inference.engines.registry import ENGINE_VARIABLE, ENGINES, choose_engine, open_engine
from pneumonia.inference.engines.timing import time_engines
from pneumonia.inference.predictor import Predictor

EXACT = ("openvino", "torch")
QUICK = [name for name in ENGINES if name != "torch-compiled"]
INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not ENGINES[name].installed, reason=f"without {ENGINES[name].package}"))
    for name in QUICK
]
# A network that was trained for seconds, on 12 validation films: their decisions are tosses of a coin.
LOOSE = ("--max-auroc-drop", "1", "--max-share-changed", "1", "--max-probability-change", "0.2")


@pytest.fixture(scope="module")
def quantized_dir(tmp_path_factory: pytest.TempPathFactory, run: Path, tree: Path, cache_dir: Path) -> Path:
    """The run's best checkpoint, exported with a graph in int8."""
    from pneumonia.export import main

    output = tmp_path_factory.mktemp("bundles") / "quantized"
    words = ["--checkpoint", run / "checkpoints" / "best.ckpt", "--data", tree, "--output", output]
    main([*map(str, words), "--cache-dir", str(cache_dir), "--quantize", "int8", *LOOSE])
    return output


@pytest.fixture
def quantized(quantized_dir: Path) -> Bundle:
    return load_bundle(quantized_dir)


@pytest.fixture(scope="module")
def opened(quantized_dir: Path) -> dict[str, Engine]:
    """Every engine that is here, at work."""
    bundle = load_bundle(quantized_dir)
    return {name: open_engine(bundle, name, threads=1) for name in QUICK if ENGINES[name].installed}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let an engine need a package that is nowhere."""

    def lack(name: str) -> None:
        monkeypatch.setitem(ENGINES, name, replace(ENGINES[name], package="nowhere_to_be_found"))

    return lack


def in_order(bundle: Bundle, *names: str) -> Bundle:
    """The bundle as if these engines had been found best, in this order."""
    return replace(bundle, engines={**bundle.engines, "order": list(names)})


@pytest.mark.parametrize("name", INSTALLED)
def test_outputs_have_a_row_for_each_film_whatever_the_size_of_the_batch(opened: dict[str, Engine], name: str) -> None:
    films = np.random.default_rng(0).integers(0, 256, (7, 64, 64), dtype=np.uint8)
    shapes = [part.shape[1:] for part in opened["fp32"].run(films)]
    for count in (1, 7, 3):
        output = opened[name].run(films[:count])
        assert output._fields == OUTPUTS
        assert [part.shape for part in output] == [(count, *shape) for shape in shapes]
        assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in output)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    films=arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(64), st.just(64)), elements=st.integers(0, 255))
)
def test_engines_in_float32_say_the_same_whatever_the_pixels(
    opened: dict[str, Engine], films: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
) -> None:
    expected = opened["fp32"].run(films)
    for name in EXACT:
        if name in opened:
            for one, other in zip(expected, opened[name].run(films), strict=True):
                np.testing.assert_allclose(other, one, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not ENGINES["torch-compiled"].installed, reason="without torch")
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler, which torch.compile needs")
def test_the_compiled_engine_says_the_same_whatever_the_size_of_the_batch(
    quantized: Bundle, opened: dict[str, Engine]
) -> None:
    films = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)
    compiled = open_engine(quantized, "torch-compiled", threads=1)
    for count in (2, 5, 1):
        for one, other in zip(opened["fp32"].run(films[:count]), compiled.run(films[:count]), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in INSTALLED if ENGINES[str(name.values[0])].automatic])
def test_a_film_s_probability_changes_by_no_more_than_the_bundle_records(
    quantized: Bundle, tree: Path, name: str
) -> None:
    from pneumonia.data.manifest import scan_tree
    from pneumonia.data.splits import recorded_splits

    manifest = scan_tree(tree)
    rows = recorded_splits(manifest, quantized.provenance["data"]).validation
    paths = manifest.select(rows).paths()
    expected, found = (
        np.array([answer.probability for answer in Predictor(quantized, 1, engine=engine).predict_files(paths)])  # type: ignore[union-attr]
        for engine in ("fp32", name)
    )
    recorded = quantized.engines["measured"][name]
    assert recorded["n"] == len(paths)
    assert np.abs(found - expected).max() == pytest.approx(recorded["largest_probability_change"], abs=1e-4)


@given(seed=st.integers(0, 2**32 - 1), label=st.sampled_from(["NORMAL", "PNEUMONIA"]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_int8_stays_near_fp32_on_films_that_nobody_measured(
    opened: dict[str, Engine], quantized_dir: Path, draw_film: Callable[..., Any], seed: int, label: str
) -> None:
    from pneumonia.evaluation.operating_point import positive_probability

    bundle = load_bundle(quantized_dir)
    film = np.asarray(draw_film(seed, label, 64, 64))[None]
    for name in ("int8", "openvino-int8", "openvino-bf16"):
        if name in opened:
            one, other = (
                positive_probability(opened[engine].run(film).logits, bundle.operating_point.temperature)
                for engine in ("fp32", name)
            )
            assert abs(one[0] - other[0]) <= bundle.engines["limits"]["probability_change"]


@pytest.mark.parametrize("name", INSTALLED)
def test_an_engine_takes_calls_from_threads(opened: dict[str, Engine], name: str) -> None:
    films = np.random.default_rng(1).integers(0, 256, (24, 64, 64), dtype=np.uint8)
    expected = [opened[name].run(film[None]).logits for film in films]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda film: opened[name].run(film[None]).logits, films))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_bundle_says_which_engine_is_best_and_why(quantized: Bundle) -> None:
    best = quantized.engines["order"][0]
    assert best in ENGINES
    assert quantized.engines["reason"].startswith(f"{best}: ")
    assert choose_engine(quantized).name == best
    assert quantized.metrics["validation"]["engine"] == best
    assert {"fp32", "int8"} <= set(quantized.engines["measured"])
    assert not {"torch", "torch-compiled"} & set(quantized.engines["measured"])


def test_auto_takes_the_first_that_is_here_and_says_what_it_passed_over(
    quantized: Bundle, without: Callable[[str], None]
) -> None:
    bundle = in_order(quantized, "openvino-int8", "int8", "fp32")
    without("openvino-int8")
    choice = choose_engine(bundle)
    assert choice.name == "int8"
    assert "openvino-int8 was found best" in choice.note
    assert "int8 is used instead" in choice.note
    assert "pip install 'pneumonia[openvino]'" in choice.note


def test_auto_says_nothing_where_the_best_is_here(quantized: Bundle) -> None:
    choice = choose_engine(in_order(quantized, "int8", "fp32"))
    assert (choice.name, choice.note) == ("int8", "")


@pytest.mark.parametrize("order", [[], ["an engine of another version"], ["int8", "fp32"]])
def test_auto_of_a_bundle_without_int8_is_fp32(bundle_dir: Path, order: list[str]) -> None:
    bundle = load_bundle(bundle_dir)
    assert bundle.engines == {}
    choice = choose_engine(in_order(bundle, *order))
    assert (choice.name, choice.note) == ("fp32", "")


@pytest.mark.parametrize("name", [name for name, kind in ENGINES.items() if kind.quantized])
def test_int8_of_a_bundle_without_it_is_an_error_that_says_how_to_get_it(bundle_dir: Path, name: str) -> None:
    with pytest.raises(BundleError, match=f"no int8 graph, which the engine {name} runs: .*--quantize int8"):
        open_engine(load_bundle(bundle_dir), name)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_is_not_installed_is_an_error_that_says_how_to_get_it(
    quantized: Bundle, without: Callable[[str], None], name: str
) -> None:
    without(name)
    with pytest.raises(MissingLibraryError, match=f"engine {name} needs the package .*pip install"):
        open_engine(quantized, name)


def test_an_engine_that_there_is_not_is_an_error_that_names_them(quantized: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"no engine 'tensorrt'; choose auto, fp32, int8"):
        open_engine(quantized, "tensorrt")


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("content", [b"", b"garbage", bytes(10_000)])
def test_what_is_no_graph_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        ENGINES[name].open(tmp_path / "model.onnx", 1)


@pytest.mark.parametrize("name", [name for name in INSTALLED if name.values[0] != "torch"])
def test_a_graph_with_other_outputs_is_refused(tmp_path: Path, write_graph: Callable[..., Path], name: str) -> None:
    graph = write_graph(tmp_path / "model.onnx", names=("scores", "activation_map", "embedding"))
    with pytest.raises(BundleError, match="scores"):
        ENGINES[name].open(graph, 1)


@pytest.mark.parametrize("name", [name for name in INSTALLED if name.values[0] != "torch"])
def test_it_reports_to_nobody_and_loads_no_torch(quantized_dir: Path, tmp_path: Path, name: str) -> None:
    code = (
        "import sys\nimport numpy as np\nfrom pneumonia.bundle import load_bundle\n"
        "from pneumonia.inference.engines.registry import open_engine\n"
        "open_engine(load_bundle(sys.argv[1]), sys.argv[2], 1).run(np.zeros((1, 64, 64), np.uint8))\n"
        "print('torch' in sys.modules)"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_", "CI"))}
    environment = {**kept, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", code, str(quantized_dir), name]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.skipif(not ENGINES["openvino"].installed, reason="without openvino")
@pytest.mark.skipif(sys.platform == "win32", reason="without SIGUSR1")
def test_a_signal_is_handled_after_openvino_is_gone(bundle_dir: Path) -> None:
    code = (
        "import faulthandler, os, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from pneumonia.inference.engines.openvino import OpenVinoEngine\n"
        "faulthandler.enable()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))\n"
        "engines = [OpenVinoEngine(Path(sys.argv[1]), 1)]\n"
        "thread = threading.Thread(target=engines.clear)\n"
        "thread.start(); thread.join()\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    words = [sys.executable, "-c", code, str(load_bundle(bundle_dir).graph)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "handled\n")


class TestCommands:
    """What `--engine` and its environment variable do."""

    @pytest.fixture
    def classify(
        self, tree: Path, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[list[float], "pytest.CaptureResult[str]"]]:
        from pneumonia.inference.command import main

        def call(bundle: Path, *options: str) -> tuple[list[float], "pytest.CaptureResult[str]"]:
            assert main([str(tree / "val"), "--json", "--bundle", str(bundle), *options]) == 0
            said = capsys.readouterr()
            return [json.loads(line)["probability"] for line in said.out.splitlines()], said

        return call

    def test_each_engine_is_run_by_its_name(self, classify: Callable[..., Any], quantized_dir: Path) -> None:
        answers = {name: classify(quantized_dir, "--engine", name)[0] for name in ("fp32", "int8")}
        assert answers["fp32"] != answers["int8"]
        best = load_bundle(quantized_dir).engines["order"][0]
        assert classify(quantized_dir)[0] == classify(quantized_dir, "--engine", best)[0]

    def test_the_environment_names_one_and_the_flag_wins(
        self, classify: Callable[..., Any], quantized_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = {name: classify(quantized_dir, "--engine", name)[0] for name in ("fp32", "int8")}
        monkeypatch.setenv(ENGINE_VARIABLE, "int8")
        assert classify(quantized_dir)[0] == given["int8"]
        assert classify(quantized_dir, "--engine", "fp32")[0] == given["fp32"]

    def test_a_wrong_name_in_the_environment_is_an_error_that_names_it(
        self, bundle_dir: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pneumonia.inference.command import main

        monkeypatch.setenv(ENGINE_VARIABLE, "abacus")
        with pytest.raises(ConfigError, match=f"{ENGINE_VARIABLE} names no engine .'abacus'.: set it to auto, fp32"):
            main([str(tree / "val"), "--bundle", str(bundle_dir)])

    def test_a_fallback_is_said_beside_the_answers(
        self, classify: Callable[..., Any], quantized: Bundle, tmp_path: Path, without: Callable[[str], None]
    ) -> None:
        without("openvino-int8")
        copy = Path(shutil.copytree(quantized.directory, tmp_path / "bundle"))
        write_bundle(replace(in_order(quantized, "openvino-int8", "int8"), directory=copy))
        answers, said = classify(copy)
        assert "int8 is used instead" in said.err
        assert answers == classify(quantized.directory, "--engine", "int8")[0]

    def test_an_engine_for_a_server_elsewhere_is_refused(self, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from pneumonia.inference.command import main

        with pytest.raises(SystemExit):
            main([str(tree / "val"), "--url", "http://127.0.0.1:9", "--engine", "int8"])
        assert "--engine is for a bundle that is loaded here" in capsys.readouterr().err

    def test_an_evaluation_says_by_what_it_was_made(self, quantized_dir: Path, tree: Path, tmp_path: Path) -> None:
        from pneumonia.evaluation.command import main

        copy = Path(shutil.copytree(quantized_dir, tmp_path / "bundle"))
        for engine in ("int8", "fp32"):
            words = ["--bundle", copy, "--data", tree, "--output", tmp_path / engine, "--resamples", "20", "--record"]
            main([*map(str, words), "--engine", engine])
            report = json.loads((tmp_path / engine / "report.json").read_text())
            assert report["model"]["engine"] == engine
            assert load_bundle(copy).metrics["test"]["engine"] == engine
        assert load_bundle(copy).engines == load_bundle(quantized_dir).engines


class Waiting:
    """An engine that does nothing for a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.batches = seconds, list[int]()

    def run(self, images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Any:
        import time

        self.batches.append(len(images))
        time.sleep(self.seconds)


def test_engines_are_timed_by_image_and_in_turn() -> None:
    engines = {"slow": Waiting(0.004), "fast": Waiting(0.001)}
    took = time_engines(engines, np.zeros((3, 4, 4), np.uint8), batches=(1, 8), rounds=3)
    assert took["slow"][1] == pytest.approx(4, rel=1.0)
    assert took["slow"][8] == pytest.approx(0.5, rel=1.0)
    assert took["fast"][1] < took["slow"][1]
    assert took["fast"][8] < took["slow"][8]
    assert engines["slow"].batches == engines["fast"].batches == [1] * (1 + 3 * 16) + [8] * (1 + 3 * 2)
