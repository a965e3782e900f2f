"""Export: the bundle answers as the checkpoint does, or there is no bundle."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pneumonia.bundle import CARD, GRAPH, MANIFEST, TYPICALITY, VALIDATION, load_bundle
from pneumonia.data.card import DATA_CARD
from pneumonia.data.manifest import PATHOGENS, scan_tree
from pneumonia.errors import BundleError, ConfigError, DataError
from pneumonia.evaluation.operating_point import DEFAULT_COVERAGE, positive_probability
from pneumonia.export import TOLERANCE, export_graph, load_checkpoint, main
from pneumonia.images import read_radiograph
from pneumonia.inference.engine import OnnxRuntimeEngine
from pneumonia.inference.prediction import Prediction
from pneumonia.inference.predictor import Predictor

Export = Callable[..., Path]

# A network that answers otherwise where it is exported: what the comparison of graph and checkpoint is for.
DRIFTING = """
import torch
from pneumonia.models import SmallResNet

class Drifting(SmallResNet):
    def forward(self, images):
        output = super().forward(images)
        if not torch.compiler.is_exporting():
            return output
        return output._replace(logits=output.logits + torch.tensor([0.0, 0.01]))
"""


@pytest.fixture
def export(run: Path, tree: Path, cache_dir: Path, tmp_path: Path) -> Export:
    """`pneumonia export` of the run's best checkpoint, or another; returns the bundle's directory."""

    def call(*options: object, checkpoint: Path | None = None, data: Path = tree) -> Path:
        output = tmp_path / "bundle"
        source = checkpoint or run / "checkpoints" / "best.ckpt"
        words = ["--checkpoint", source, "--data", data, "--output", output, "--cache-dir", cache_dir, *options]
        main(list(map(str, words)))
        return output

    return call


@pytest.fixture
def changed_checkpoint(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """The best checkpoint with other content under some keys."""

    def change(**changes: Any) -> Path:
        content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
        content.update({key: value(content[key]) for key, value in changes.items()})
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return change


def test_the_bundle_answers_for_files_as_the_checkpoint_does(
    run: Path, tree: Path, bundle_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pneumonia.inference.command import main as classify

    files = sorted((tree / "test").rglob("*.jpeg"))
    assert classify(["--bundle", str(bundle_dir), "--json", *map(str, files)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    classifier, _ = load_checkpoint(run / "checkpoints" / "best.ckpt")
    films = np.stack([read_radiograph(file, classifier.image_size).pixels for file in files])
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(films).unsqueeze(1)).logits.numpy()
    expected = positive_probability(logits, load_bundle(bundle_dir).operating_point.temperature)
    assert [answer["path"] for answer in answers] == list(map(str, files))
    np.testing.assert_allclose([answer["probability"] for answer in answers], expected, atol=TOLERANCE)


def test_a_bundle_is_graph_typicality_answers_cards_and_manifest_and_nothing_else(bundle_dir: Path) -> None:
    assert {path.name for path in bundle_dir.iterdir()} == {MANIFEST, GRAPH, TYPICALITY, VALIDATION, CARD, DATA_CARD}


def test_a_bundle_says_what_it_was_made_of(run: Path, tree: Path, bundle_dir: Path) -> None:
    bundle = load_bundle(bundle_dir)
    classifier, provenance = load_checkpoint(run / "checkpoints" / "best.ckpt")
    assert bundle.provenance.items() >= provenance.items()
    assert bundle.provenance["export"].items() >= {"rule": "youden", "coverage": DEFAULT_COVERAGE, "views": 4}.items()
    assert bundle.provenance["data"]["digest"] == scan_tree(tree).digest
    assert (bundle.classes, bundle.input_size) == (("NORMAL", "PNEUMONIA"), 64)
    assert bundle.parameters == sum(parameter.numel() for parameter in classifier.network.parameters())
    assert 0 <= bundle.metrics["validation"]["auroc"]["value"] <= 1


def test_a_bundle_of_other_films_than_those_of_data_dvc_does_not_call_itself_reproducible(bundle_dir: Path) -> None:
    pytest.importorskip("dvc", reason="needs pneumonia[data]")
    verdict = load_bundle(bundle_dir).provenance["reproducibility"]
    assert verdict["reproducible"] is False
    assert any(reason.startswith("the data are not those of data.dvc") for reason in verdict["reasons"])
    assert "Reproducible: no: " in (bundle_dir / CARD).read_text(encoding="utf-8")


def test_a_bundle_holds_no_path_of_the_machine_it_was_made_on(bundle_dir: Path, tree: Path) -> None:
    for path in bundle_dir.iterdir():
        for trace in (tree, Path(__file__).parents[1], Path.home(), Path(torch.__file__).parent):
            assert str(trace).encode() + b"/" not in path.read_bytes()


def test_an_export_replaces_a_bundle_and_is_the_same_wherever_the_data_are(
    export: Export, bundle_dir: Path, tree: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    again = load_bundle(export("--name", "other", data=Path(shutil.copytree(tree, tmp_path / "tree"))))
    assert again.label == f"other:{load_bundle(bundle_dir).version}"
    assert again.operating_point == load_bundle(bundle_dir).operating_point
    assert again.graph.read_bytes() == (bundle_dir / "model.onnx").read_bytes()


@pytest.mark.slow
def test_the_averaged_weights_are_exported_where_there_are_any(
    training_words: Callable[..., list[str]], tmp_path: Path
) -> None:
    from pneumonia.training.cli import main as train

    average = ["--trainer.callbacks=lightning.pytorch.callbacks.EMAWeightAveraging", "--trainer.max_epochs=1"]
    train(training_words("fit", tmp_path, *average))
    path = tmp_path / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    loaded = load_checkpoint(path)[0].state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in content["state_dict"].items())
    assert any(not torch.equal(loaded[key], value) for key, value in content["current_model_state"].items())


def test_a_graph_that_answers_otherwise_than_the_checkpoint_is_refused_and_the_old_bundle_stays(
    export: Export,
    changed_checkpoint: Callable[..., Path],
    bundle_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    (tmp_path / "drifting.py").write_text(DRIFTING)
    monkeypatch.syspath_prepend(tmp_path)
    path = changed_checkpoint(
        hyper_parameters=lambda old: {**old, "network": {**old["network"], "class_path": "drifting.Drifting"}}
    )
    with pytest.raises(BundleError, match=r"differ from the checkpoint's by up to 0\.00\d+ on \d+ films"):
        export(checkpoint=path)
    assert load_bundle(tmp_path / "bundle").version == load_bundle(bundle_dir).version
    assert [found.name for found in tmp_path.glob("*bundle*")] == ["bundle"]


def test_a_rule_that_does_not_exist_is_refused_before_anything_is_read(export: Export, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nonsense' is no rule for the threshold"):
        export("--rule", "nonsense", checkpoint=tmp_path / "missing.ckpt")


@pytest.mark.parametrize("coverage", ["0.2", "1"])
def test_a_coverage_that_can_not_be_asked_for_is_refused(export: Export, tmp_path: Path, coverage: str) -> None:
    with pytest.raises(ConfigError, match=f"The coverage {coverage}"):
        export("--coverage", coverage)
    assert not (tmp_path / "bundle").exists()


def test_the_prediction_sets_have_the_coverage_that_is_asked_for_or_the_run_s(export: Export, bundle_dir: Path) -> None:
    asked, own = load_bundle(export("--coverage", "0.6")).operating_point, load_bundle(bundle_dir).operating_point
    assert (asked.coverage, own.coverage) == (0.6, DEFAULT_COVERAGE)
    assert all(higher >= lower for higher, lower in zip(asked.set_thresholds, own.set_thresholds, strict=True))
    assert (asked.temperature, asked.threshold) == (own.temperature, own.threshold)


@pytest.mark.slow
def test_a_bundle_of_three_classes_answers_with_the_probability_of_each(
    training_words: Callable[..., list[str]], export: Export, tree: Path, tmp_path: Path
) -> None:
    from pneumonia.training.cli import main as train

    train(training_words("fit", tmp_path / "run", f"--data.classes=[{','.join(PATHOGENS)}]"))
    bundle = load_bundle(export(checkpoint=tmp_path / "run" / "checkpoints" / "best.ckpt"))
    assert bundle.classes == PATHOGENS
    assert len(bundle.operating_point.set_thresholds) == 3
    for answer in Predictor(bundle).predict_files(sorted((tree / "test").rglob("*.jpeg"))):
        assert isinstance(answer, Prediction)
        assert tuple(answer.probabilities) == PATHOGENS
        assert answer.probability == pytest.approx(1 - answer.probabilities["NORMAL"])
        kinds = {name: answer.probabilities[name] for name in PATHOGENS[1:]}
        called = max(kinds, key=kinds.__getitem__) if answer.probability >= answer.threshold else "NORMAL"
        assert answer.prediction == called


def test_an_export_does_not_replace_what_is_no_bundle(export: Export, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is there and is no bundle"):
        export()
    assert (tmp_path / "bundle" / "thesis.txt").read_text() == "years of work"


def test_other_data_than_it_was_trained_on_are_refused(export: Export, tree: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tree, tmp_path / "tree"))
    (other / "train/NORMAL/IM-0001-0000.jpeg").unlink()
    with pytest.raises(DataError, match=r"is not the data that the checkpoint was trained on .*Give that tree"):
        export(data=other)


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"PK\3\4", b"\x80\x02."])
def test_a_file_that_is_no_checkpoint_is_an_error_that_names_it(
    export: Export, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "garbage.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint.*garbage\.ckpt|garbage\.ckpt is no checkpoint"):
        export(checkpoint=tmp_path / "garbage.ckpt")
    assert not (tmp_path / "bundle").exists()


CHANGES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "no provenance": {"provenance": lambda _: None},
    "provenance without data": {"provenance": lambda _: {}},
    "data without a digest": {"provenance": lambda old: {**old, "data": {}}},
    "no weights": {"state_dict": lambda _: {}},
    "other weights": {"state_dict": lambda old: {key: value[:1] for key, value in old.items() if value.ndim}},
    "no settings": {"hyper_parameters": lambda _: {}},
    "no such network": {"hyper_parameters": lambda old: {**old, "network": {"class_path": "nowhere.Network"}}},
    "a layer": {"hyper_parameters": lambda old: {**old, "network": {"class_path": "torch.nn.Identity"}}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_something_else_is_an_error_that_names_it(
    export: Export, changed_checkpoint: Callable[..., Path], change: str
) -> None:
    with pytest.raises(ConfigError, match=r"changed\.ckpt is no checkpoint"):
        export(checkpoint=changed_checkpoint(**CHANGES[change]))


def test_a_checkpoint_that_runs_a_command_is_refused_and_not_run(
    export: Export, changed_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "exploded"),)

    with pytest.raises(ConfigError, match="is no checkpoint"):
        export(checkpoint=changed_checkpoint(provenance=lambda _: Bomb()))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("key", ["_instantiator", "_class_path", "network"])
def test_a_checkpoint_that_names_code_that_is_no_network_is_refused_and_not_run(
    export: Export, changed_checkpoint: Callable[..., Path], tmp_path: Path, key: str
) -> None:
    trap = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(tmp_path / "exploded")]}}
    value = trap if key == "network" else "subprocess.Popen"
    path = changed_checkpoint(hyper_parameters=lambda old: {**old, key: value})
    with pytest.raises(ConfigError, match="is no checkpoint"):
        export(checkpoint=path)
    assert not (tmp_path / "exploded").exists()


def test_a_small_network_is_exported_as_it_is_whatever_the_size_of_film_and_batch(tmp_path: Path) -> None:
    from pneumonia.models import SmallResNet

    torch.manual_seed(0)
    network = SmallResNet(widths=(8, 16, 16), depths=(1, 2, 1)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    assert_exported_as_it_is(network, tmp_path, 75)  # odd in every stage


def assert_exported_as_it_is(network: nn.Module, folder: Path, side: int) -> None:
    export_graph(network, side, folder / "model.onnx")
    engine = OnnxRuntimeEngine(folder / "model.onnx")
    films = np.random.default_rng(0).integers(0, 256, (5, side, side), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(films).unsqueeze(1))
    for count in (1, 2, 5):
        for found, wanted in zip(engine.run(films[:count]), expected, strict=True):
            np.testing.assert_allclose(found, wanted[:count].numpy(), atol=1e-3, rtol=1e-3)


def test_what_constants_tell_is_computed_at_export(tmp_path: Path) -> None:
    from pneumonia.models import SmallResNet

    export_graph(SmallResNet(widths=(4,), depths=(1,), neighbourhood=25), 224, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    constant = {tensor.name for tensor in graph.initializer}
    assert [node.op_type for node in graph.node if constant.issuperset(node.input)] == []


LOOSE = ("--max-auroc-drop", "1", "--max-share-changed", "1", "--max-probability-change", "0.2")


def test_int8_is_added_beside_the_graph_that_stays_as_it_is(export: Export, bundle_dir: Path) -> None:
    bundle, plain = load_bundle(export("--quantize", "int8", *LOOSE)), load_bundle(bundle_dir)
    assert bundle.quantized_graph is not None
    assert bundle.graph.read_bytes() == plain.graph.read_bytes()
    assert bundle.quantized_graph.stat().st_size < bundle.graph.stat().st_size
    assert bundle.operating_point == plain.operating_point
    assert bundle.version != plain.version
    assert bundle.engines["limits"] == {"auroc_drop": 1.0, "share_changed": 1.0, "probability_change": 0.2}
    assert bundle.engines["measured"]["int8"]["n"] == bundle.metrics["validation"]["n"]
    assert f"Engine: {bundle.engines['reason']}" in (bundle.directory / CARD).read_text()


def test_there_is_no_bundle_where_int8_changes_more_than_it_may(export: Export, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"int8 answers otherwise than fp32: .*a probability changes by"):
        export("--quantize", "int8", *LOOSE[:4], "--max-probability-change", "1e-9")
    assert not (tmp_path / "bundle").exists()
