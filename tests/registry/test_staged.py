"""Staged tests pass a whole bundle, and fail one that is broken, in whatever way it is."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pneumonia.bundle import GRAPH, REFERENCE, VALIDATION, Bundle, graph_version, load_bundle, write_bundle
from pneumonia.cli import main as pneumonia
from pneumonia.data.phantom import PhantomCounts, write_phantoms
from pneumonia.errors import ConfigError, RegistryError
from pneumonia.inference.engine import EngineOutput
from pneumonia.inference.probes import write_probes
from pneumonia.registry.local import LocalRegistry
from pneumonia.registry.staged import clinical, technical
from pneumonia.registry.staged.result import CheckFailedError, CheckSkippedError, StagedResult
from pneumonia.registry.staged.run import CHECKS, _subject, examine_bundle, examine_entry
from pneumonia.registry.staged.subject import StagedOptions, Subject
from tests.registry.conftest import push_tested

Make = Callable[..., Path]
Spoil = Callable[[Path], None]

# What a network of seconds on 94 films reaches is not the matter here.
EASY = StagedOptions(min_auroc=0.5, min_sensitivity=0, min_specificity=0)


def outcomes(result: StagedResult) -> dict[str, str]:
    return {check.name: check.outcome for check in result.checks}


def failures(result: StagedResult) -> dict[str, str]:
    return {check.name: check.words for check in result.failures}


@pytest.fixture
def broken(bundle_dir: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to break."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "broken"))


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """The reference bundle at work."""
    return _subject(load_bundle(REFERENCE), tmp_path, EASY, None, {})


def change_graph(directory: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph, and have everything else fit to it."""
    model = onnx.load(directory / GRAPH)
    change(model)
    onnx.save(model, directory / GRAPH)
    bundle = load_bundle_unverified(directory)
    write_bundle(replace(bundle, version=graph_version(bundle.graph, bundle.operating_point)))


def load_bundle_unverified(directory: Path) -> Bundle:
    content = json.loads((directory / "bundle.json").read_text())
    content["files"] = {}
    before = load_bundle(REFERENCE)
    names = {"name", "version", "created", "input_size", "parameters", "metrics", "provenance", "engines"}
    point = replace(before.operating_point, **content["operating_point"])
    return replace(
        before,
        directory=directory,
        classes=tuple(content["classes"]),
        operating_point=point,
        **{name: content[name] for name in names},
    )


def to_nan(model: onnx.ModelProto) -> None:
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    broken = np.full(tuple(weights.dims), np.nan, dtype=np.float32)
    weights.CopyFrom(numpy_helper.from_array(broken, weights.name))


def swap_logits(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if "logits" in node.output)
    node.output[list(node.output).index("logits")] = "unswapped"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0]), "order"))
    model.graph.node.append(helper.make_node("Gather", ["unswapped", "order"], ["logits"], axis=1))


def test_a_whole_bundle_passes_on_the_films_that_it_held_out(bundle_dir: Path, tree: Path) -> None:
    result = examine_bundle(bundle_dir, replace(EASY, data=tree))
    assert failures(result) == {}
    assert tuple(outcomes(result)) == CHECKS
    assert {name for name, outcome in outcomes(result).items() if outcome == "skip"} == {"best", "latency"}
    words = next(check.words for check in result.checks if check.name == "films")
    assert "13 answered as recorded, 0 decided otherwise" in words
    assert result.bundle_version == load_bundle(bundle_dir).version
    assert result.engine == "fp32"
    assert result.versions["pneumonia"]
    assert json.loads(json.dumps(result.as_json(), allow_nan=False))["passed"]


def test_a_byte_that_changed_is_found(broken: Path) -> None:
    with (broken / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    result = examine_bundle(broken, EASY)
    assert list(failures(result)) == ["checksums"]
    assert "SHA-256" in failures(result)["checksums"]
    assert set(outcomes(result).values()) == {"fail", "skip"}
    assert tuple(outcomes(result)) == CHECKS


def test_weights_that_are_no_numbers_are_found(broken: Path) -> None:
    change_graph(broken, to_nan)
    result = examine_bundle(broken, EASY)
    assert "Not finite: logits, activation_map, embedding" in failures(result)["finite"]
    assert {"served", "contract", "finite", "batch", "probes", "invariances"} <= set(failures(result))
    assert outcomes(result)["version"] == "pass"


def test_a_graph_whose_classes_are_swapped_is_found_on_films_and_without(broken: Path, tree: Path) -> None:
    change_graph(broken, swap_logits)
    result = examine_bundle(broken, replace(EASY, data=tree))
    assert list(failures(result)) == ["probes", "films"]
    assert "Phantoms are answered otherwise than when it was exported" in failures(result)["probes"]
    assert "auroc 0.000 (at least 0.5)" in failures(result)["films"]


def test_classes_that_are_named_the_other_way_round_are_found(broken: Path) -> None:
    bundle = load_bundle(broken)
    write_bundle(replace(bundle, classes=bundle.classes[::-1]))
    assert "the first has to be NORMAL" in failures(examine_bundle(broken, EASY))["contract"]


def with_threshold(bundle: Bundle) -> Bundle:
    return replace(bundle, operating_point=replace(bundle.operating_point, threshold=0.05))


def test_a_threshold_that_was_changed_is_found_by_the_version_and_by_the_figures(broken: Path) -> None:
    write_bundle(with_threshold(load_bundle(broken)))
    found = failures(examine_bundle(broken, EASY))
    assert list(found) == ["version"]  # so low a threshold calls these films as the old one did
    bundle = load_bundle(broken)
    point = replace(bundle.operating_point, threshold=0.99)
    write_bundle(replace(bundle, operating_point=point, version=graph_version(bundle.graph, point)))
    found = failures(examine_bundle(broken, EASY))
    assert list(found) == ["figures"]
    assert "do not give the figures that it records: accuracy" in found["figures"]


def test_figures_without_answers_and_answers_without_figures_are_found(broken: Path, subject: Subject) -> None:
    bundle = load_bundle(broken)
    for spoiled, words in {
        "figures": "do not give the figures that it records: auroc",
        "number": "their number differs",
        "answers": "export it again",
    }.items():
        figures = {} if spoiled == "figures" else {**bundle.metrics["validation"]}
        write_bundle(replace(bundle, metrics={"validation": figures | ({"n": 1} if spoiled == "number" else {})}))
        if spoiled == "answers":
            (broken / VALIDATION).unlink()
            write_bundle(bundle)
        with pytest.raises(CheckFailedError, match=words):
            clinical.check_figures(replace(subject, bundle=load_bundle(broken)))


def test_a_graph_that_no_engine_opens_is_found(broken: Path) -> None:
    bundle = load_bundle(broken)
    bundle.graph.write_bytes(b"garbage")
    write_bundle(bundle)
    result = examine_bundle(broken, EASY)
    assert list(failures(result)) == ["opens"]
    assert "ONNX Runtime can't load" in failures(result)["opens"]
    assert tuple(outcomes(result)) == CHECKS


def test_too_low_figures_fail_with_what_they_should_be(make: Make, subject: Subject) -> None:
    low = replace(subject, bundle=load_bundle(make(wrong=100)), options=StagedOptions())
    with pytest.raises(CheckFailedError, match=r"sensitivity 0\.750 \(at least 0\.8\)"):
        clinical.check_figures(low)
    assert "400 held-out films" in clinical.check_figures(replace(low, options=EASY))


def test_films_of_test_are_taken_where_none_was_held_out(tmp_path: Path, subject: Subject) -> None:
    phantoms = write_phantoms(tmp_path / "tree", PhantomCounts(train=0, val=0, test=20), size=64)
    trying = replace(subject, options=replace(EASY, data=phantoms, min_auroc=0, films=10))
    words = clinical.check_films(trying)
    assert words.startswith("10 films: ")
    assert words.endswith("their answers are not recorded")
    with pytest.raises(CheckFailedError, match=r"auroc 0\.\d+ \(at least 1\)"):
        clinical.check_films(replace(trying, options=replace(trying.options, min_auroc=1)))
    shutil.rmtree(phantoms / "test")
    (phantoms / "train" / "NORMAL" / "IM-0001-0001.jpeg").write_bytes(subject.probes[0].read_bytes())
    with pytest.raises(CheckFailedError, match="no films of test or of those that it held out"):
        clinical.check_films(trying)


def test_a_bundle_that_is_worse_than_the_best_fails(make: Make, subject: Subject) -> None:
    def against(best: Path | None, bundle: Path) -> str:
        loaded = None if best is None else load_bundle(best)
        return clinical.check_best(replace(subject, bundle=load_bundle(bundle), best=loaded))

    with pytest.raises(CheckFailedError, match=r"worse than the present best, cnn:.*its AUROC is lower"):
        against(make(), make("other", wrong=40))
    with pytest.raises(CheckSkippedError, match="not comparable with cnn:"):
        against(make(), make("other", data="others"))
    with pytest.raises(CheckSkippedError, match="there is no other best"):
        against(None, make())
    assert against(make(), make("other")).startswith("no worse than cnn:")


def test_latency_is_compared_with_the_engines_own_baseline(subject: Subject) -> None:
    quick = {subject.engine: 1.0, "fp32": 3.0}
    assert "1.0 times its baseline" in technical.check_latency(replace(subject, baselines=quick), quick)
    with pytest.raises(CheckFailedError, match=r"more than 10 times its baseline of 1\.00 ms"):
        technical.check_latency(replace(subject, baselines=quick), {subject.engine: 10.5, "fp32": 30})
    with pytest.raises(CheckFailedError, match="serve it with --engine fp32"):
        technical.check_latency(replace(subject, baselines=quick), {subject.engine: 5, "fp32": 3})
    with pytest.raises(CheckSkippedError, match="no baseline yet"):
        technical.check_latency(replace(subject, baselines={}), quick)
    assert set(technical.milliseconds(subject)) == {"int8", "fp32"}


def test_answers_that_depend_on_the_other_films_of_a_batch_are_found(subject: Subject) -> None:
    class Leaky:
        """Adds the batch's mean to each logit."""

        def run(self, images: Any) -> EngineOutput:
            output = honest.run(images)
            return output._replace(logits=output.logits + images.mean() * np.array([0, 0.01], dtype=np.float32))

    honest = subject.predictor.engine
    assert "largest difference" in technical.check_batch(subject)
    subject.predictor.engine = Leaky()
    with pytest.raises(CheckFailedError, match="from that of the film alone"):
        technical.check_batch(subject)


def test_answers_that_depend_on_the_kind_of_file_are_found(subject: Subject) -> None:
    assert "at most" in technical.check_invariances(subject)
    turned = [replace(film, pixels=255 - film.pixels) for film in subject.copies["plain"]]
    with pytest.raises(CheckFailedError, match="The probability of the same film changes: as JPEG by"):
        technical.check_invariances(replace(subject, copies={**subject.copies, "as JPEG": turned}))


def test_torch_in_a_serving_process_is_found(subject: Subject, tmp_path: Path, monkeypatch: Any) -> None:
    assert "without torch" in technical.check_served(subject)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = sys\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with pytest.raises(CheckFailedError, match="imports torch"):
        technical.check_served(subject)


def test_probes_are_the_same_every_time(tmp_path: Path) -> None:
    first, second = (write_probes(tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(first) == 12


@pytest.mark.parametrize(
    "options", [{"min_auroc": 1.5}, {"min_sensitivity": math.nan}, {"max_slowdown": 0.5}, {"films": 0}]
)
def test_what_can_not_be_reached_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StagedOptions(**options)


def test_the_result_is_kept_with_the_entry(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make("old"))
    registry.promote("old:v1")
    registry.push(make(), ["candidate"])
    entry, result = examine_entry(registry, "candidate", EASY)
    kept = registry.find("cnn:v1").metadata["staged"]
    assert (kept["passed"], kept["bundle_version"]) == (True, result.bundle_version)
    assert {check["name"]: check["outcome"] for check in kept["checks"]} == outcomes(result)
    assert outcomes(result)["best"] == "pass"
    assert kept["baselines"] == {"fp32": kept["milliseconds"]}
    _, again = examine_entry(registry, "candidate", EASY)
    assert again.baselines == kept["baselines"]
    assert outcomes(again)["latency"] in ("pass", "fail")  # compared, whatever this machine is at
    with (registry.root / entry.name / entry.version / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    _, damaged = examine_entry(registry, "cnn:v1", EASY)
    assert list(failures(damaged)) == ["checksums"]
    assert not registry.find("cnn:v1").metadata["staged"]["passed"]
    with pytest.raises(RegistryError, match="There is no"):
        examine_entry(registry, "nothing", EASY)


def test_the_command_reports_every_check_and_fails_with_one(
    registry: LocalRegistry, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["registry", "--root", str(registry.root), "test", "candidate", "--min-specificity", "0"]

    def run(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            pneumonia([*words, *more])
        return int(ended.value.code or 0), capsys.readouterr().out

    registry.push(broken, ["candidate"])
    code, said = run("--json")
    assert (code, json.loads(said)["passed"]) == (0, True)
    change_graph(broken, to_nan)
    registry.push(broken, ["candidate"])
    code, said = run()
    assert code == 1
    assert all(name in said for name in CHECKS)
    assert "FAILED" in said.splitlines()[0]
    with pytest.raises(RegistryError, match=r"its staged tests failed: .*finite: Not finite"):
        registry.promote("candidate")


def test_pytest_runs_the_same_tests_and_keeps_what_they_found(registry: LocalRegistry, broken: Path) -> None:
    registry.push(broken, ["candidate"])
    with (registry.pull("candidate") / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    project = Path(__file__).parents[2]
    words = [sys.executable, "-m", "pytest", "tests/staged", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, "--registry", "cnn:candidate", "--root", str(registry.root)],
        capture_output=True,
        text=True,
        cwd=project,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_the_bundle_passes[checksums]" in done.stdout
    assert f"1 failed, {len(CHECKS) - 1} skipped" in done.stdout
    assert registry.find("candidate").metadata["staged"]["passed"] is False
    both = subprocess.run([*words, "--registry", "a", "--bundle", "b"], capture_output=True, cwd=project)
    assert both.returncode == 4
