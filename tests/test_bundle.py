"""A bundle is loaded as it was exported or not at all."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pneumonia.bundle import (
    CARD,
    GRAPH,
    MANIFEST,
    QUANTIZED_GRAPH,
    SCHEMA,
    TYPICALITY,
    Bundle,
    graph_version,
    load_bundle,
    write_bundle,
)
from pneumonia.errors import BundleError
from pneumonia.evaluation.operating_point import OperatingPoint
from pneumonia.files import write_json
from tests.registry.conftest import recalibration_of

RECALIBRATION = recalibration_of("cnn:v1")


@pytest.fixture
def copied(bundle_dir: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what `bundle.json` says, as someone who puts its checksum right."""
    from pneumonia.bundle import _own_checksum

    content = json.loads((directory / MANIFEST).read_text())
    change(content)
    content["sha256"] = _own_checksum(content)
    write_json(directory / MANIFEST, content)


def test_a_bundle_that_is_written_is_loaded_as_it_was(bundle_dir: Path, copied: Path) -> None:
    bundle = load_bundle(bundle_dir)
    write_bundle(replace(bundle, directory=copied))
    assert replace(load_bundle(copied), directory=bundle_dir) == bundle
    assert (copied / MANIFEST).read_bytes() == (bundle_dir / MANIFEST).read_bytes()


def test_a_bundle_can_lie_anywhere_and_under_any_name(bundle_dir: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(bundle_dir, tmp_path / "with space, ümlaut"))
    assert load_bundle(moved).version == load_bundle(str(bundle_dir)).version


def _says_the_same(changed: bytes, content: bytes) -> bool:
    """The seventeenth digit of a number can be another one, and the number the same."""
    try:
        return bool(json.loads(changed) == json.loads(content))
    except ValueError:
        return False


@pytest.mark.parametrize("name", [GRAPH, TYPICALITY, CARD, MANIFEST])
@pytest.mark.parametrize("mask", [0x01, 0x10, 0xFF])
def test_one_changed_byte_in_any_file_is_noticed(copied: Path, name: str, mask: int) -> None:
    content = (copied / name).read_bytes()
    for position in range(0, len(content), len(content) // 40):
        changed = bytearray(content)
        changed[position] ^= mask
        if name == MANIFEST and _says_the_same(changed, content):
            continue
        (copied / name).write_bytes(changed)
        with pytest.raises(BundleError):
            load_bundle(copied)


@pytest.mark.parametrize("name", [GRAPH, TYPICALITY, CARD, MANIFEST])
@pytest.mark.parametrize("length", [0, 1, -1])
def test_a_file_that_was_cut_is_noticed(copied: Path, name: str, length: int) -> None:
    (copied / name).write_bytes((copied / name).read_bytes().rstrip()[:length])
    with pytest.raises(BundleError):
        load_bundle(copied)


@pytest.mark.parametrize("name", [GRAPH, TYPICALITY, CARD])
def test_a_file_that_is_missing_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"lacks the file '{name}'"):
        load_bundle(copied)


@pytest.mark.parametrize("place", ["missing", "empty", "file"])
def test_a_place_without_a_bundle_is_an_error_that_says_how_to_make_one(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match=r"pneumonia export|can't be read"):
        load_bundle(tmp_path / place)


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, None, str(SCHEMA), [SCHEMA]])
def test_another_schema_is_refused_and_named(copied: Path, schema: object) -> None:
    edit(copied, lambda content: content.update(schema=schema))
    with pytest.raises(BundleError, match=rf"has schema .*, and this version of the package reads {SCHEMA}"):
        load_bundle(copied)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"1", b'"text"', b"\xff", b"{}", b"[" * 100_000, b'{"schema": 2}', b"\0"]
)
def test_a_manifest_that_is_none_is_refused(copied: Path, content: bytes) -> None:
    (copied / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(copied)


def test_a_threshold_that_was_changed_by_hand_is_noticed(copied: Path) -> None:
    content = json.loads((copied / MANIFEST).read_text())
    content["operating_point"]["threshold"] = 0.0
    write_json(copied / MANIFEST, content)
    with pytest.raises(BundleError, match="is not what was exported"):
        load_bundle(copied)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../model.onnx", "./model.onnx", "..", "", ".", "a\0b"]
)
def test_a_file_outside_the_bundle_is_not_looked_at(copied: Path, name: str) -> None:
    (copied.parent / "secret").write_bytes(b"")
    edit(copied, lambda content: content["files"].update({name: content["files"][GRAPH]}))
    with pytest.raises(BundleError, match="lacks the file"):
        load_bundle(copied)


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda content, key=key: content.pop(key)
            for key in ("name", "version", "created", "classes", "input_size", "parameters", "operating_point")
        ),
        lambda content: content.update(files=[]),
        lambda content: content["files"].pop(GRAPH),
        lambda content: content["files"].pop(TYPICALITY),
        lambda content: content["files"].update({GRAPH: None}),
        lambda content: content["files"][GRAPH].pop("sha256"),
        lambda content: content.update(classes=7),
        lambda content: content.update(input_size="large"),
        lambda content: content.update(metrics=7),
        lambda content: content.update(provenance=None),
        lambda content: content.update(operating_point=[1, 0.5, "youden"]),
        lambda content: content["operating_point"].update(threshold=2),
        lambda content: content["operating_point"].update(temperature=0),
        lambda content: content["operating_point"].update(temperature="hot"),
        lambda content: content["operating_point"].update(bias=1),
        lambda content: content["operating_point"].update(offset="high"),
        lambda content: content["provenance"].update(recalibration={}),
        lambda content: content["provenance"].update(recalibration="yes"),
        lambda content: content["provenance"].update(recalibration=[1]),
        lambda content: content["provenance"].update(recalibration={**RECALIBRATION, "gained": -1}),
        lambda content: content["provenance"].update(recalibration={**RECALIBRATION, "classes": 3}),
        lambda content: content["provenance"].update(recalibration={**RECALIBRATION, "after": {}}),
        lambda content: content["provenance"].update(recalibration={**RECALIBRATION, "p_better": "small"}),
        lambda content: content["operating_point"].update(coverage=1.0),
        lambda content: content["operating_point"].pop("set_thresholds"),
        lambda content: content["operating_point"].update(set_thresholds=0.5),
        lambda content: content["operating_point"].update(set_thresholds=[0.5, 2.0]),
        lambda content: content["operating_point"].update(set_thresholds=[0.5, 0.5, 0.5]),
    ],
)
def test_a_manifest_that_lacks_or_misstates_something_is_refused(
    copied: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(copied, change)
    with pytest.raises(BundleError):
        load_bundle(copied)


def test_a_directory_in_the_place_of_a_file_is_refused(copied: Path) -> None:
    (copied / GRAPH).unlink()
    (copied / GRAPH).mkdir()
    with pytest.raises(BundleError, match="lacks the file"):
        load_bundle(copied)


POINTS = st.builds(
    OperatingPoint,
    temperature=st.floats(0.05, 20),
    threshold=st.floats(0, 1),
    rule=st.sampled_from(["youden", "accuracy"]),
    coverage=st.sampled_from([0.9, 0.95]),
    set_thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    offset=st.sampled_from([0.0, -1.5]),
)


@given(POINTS, POINTS)
@example(one := OperatingPoint(1.0, 0.5, "youden", 0.95, (0.3, 0.3)), replace(one, coverage=0.9))
@example(one, replace(one, set_thresholds=(0.3, 0.4)))
@example(one, replace(one, offset=0.5))
def test_the_version_changes_with_the_operating_point_and_only_with_it(
    bundle_dir: Path, one: OperatingPoint, other: OperatingPoint
) -> None:
    graph = bundle_dir / GRAPH
    assert (graph_version(graph, one) == graph_version(graph, other)) == (one == other)


def test_the_version_changes_with_the_graph_and_not_with_its_place(bundle_dir: Path, copied: Path) -> None:
    point = load_bundle(bundle_dir).operating_point
    assert graph_version(copied / GRAPH, point) == graph_version(bundle_dir / GRAPH, point)
    with (copied / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    assert graph_version(copied / GRAPH, point) != graph_version(bundle_dir / GRAPH, point)


def test_the_version_is_that_of_graph_and_operating_point(bundle_dir: Path) -> None:
    bundle = load_bundle(bundle_dir)
    assert bundle.version == graph_version(bundle.graph, bundle.operating_point)
    assert bundle.label == f"cnn:{bundle.version}"


def test_a_figure_that_is_no_number_is_not_written(bundle_dir: Path, copied: Path) -> None:
    bundle = replace(load_bundle(copied), metrics={"validation": {"auroc": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(bundle)
    assert (copied / MANIFEST).read_bytes() == (bundle_dir / MANIFEST).read_bytes()


def test_what_a_bundle_tells_is_json_without_its_place(bundle_dir: Path) -> None:
    told = json.dumps(load_bundle(bundle_dir).describe())
    assert str(bundle_dir) not in told


@pytest.mark.parametrize(("provenance", "synthetic"), [({}, False), ({"synthetic": True}, True)])
def test_a_bundle_knows_whether_it_is_synthetic(bundle_dir: Path, provenance: dict[str, Any], synthetic: bool) -> None:
    bundle: Bundle = replace(load_bundle(bundle_dir), provenance=provenance)
    assert bundle.synthetic is synthetic


def test_a_quantised_graph_that_the_manifest_does_not_list_is_refused(copied: Path) -> None:
    shutil.copy(copied / GRAPH, copied / QUANTIZED_GRAPH)
    with pytest.raises(BundleError, match=f"holds a {QUANTIZED_GRAPH} that its {MANIFEST} does not list"):
        load_bundle(copied)


def test_a_quantised_graph_is_verified_and_changes_the_version(copied: Path) -> None:
    plain = load_bundle(copied)
    assert plain.quantized_graph is None
    shutil.copy(copied / GRAPH, copied / QUANTIZED_GRAPH)
    write_bundle(plain)
    bundle = load_bundle(copied)
    assert bundle.quantized_graph == copied / QUANTIZED_GRAPH
    assert graph_version(bundle.graph, bundle.operating_point, bundle.quantized_graph) != bundle.version
    with (copied / QUANTIZED_GRAPH).open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        load_bundle(copied)


@pytest.mark.parametrize("engines", [7, [1], {"order": "int8"}])
def test_engines_that_are_none_are_refused(copied: Path, engines: object) -> None:
    edit(copied, lambda content: content.update(engines=engines))
    with pytest.raises(BundleError, match="lacks or misstates"):
        load_bundle(copied)


def test_a_bundle_from_before_engines_were_measured_is_loaded(copied: Path) -> None:
    edit(copied, lambda content: content.pop("engines"))
    assert load_bundle(copied).engines == {}
