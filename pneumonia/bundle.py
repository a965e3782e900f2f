"""A bundle: the directory that is deployed, with its checksums; written whole, verified at load."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pneumonia.errors import BundleError, ConfigError
from pneumonia.evaluation.held_out import HeldOut, load_held_out
from pneumonia.evaluation.operating_point import OperatingPoint
from pneumonia.files import sha256_of, write_json

SCHEMA = 2
MANIFEST = "bundle.json"
GRAPH = "model.onnx"
QUANTIZED_GRAPH = "model.int8.onnx"
TYPICALITY = "typicality.npz"
VALIDATION = "validation.npz"
CARD = "MODEL_CARD.md"
# What is recorded of decisions before and after a recalibration.
_COUNTS = ("films", "patients", "refused", "seen", "folds", "gained", "lost")
_DECIDED = ("accuracy", "sensitivity", "specificity", "ece", "decided")
REFERENCE = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Bundle:
    """What `bundle.json` says, and where it lies.

    `input_size` is the side in pixels of the square that the graph takes; `metrics` maps a split to figures with
    intervals; `provenance` holds data digest, config, seed, commit and versions, and `synthetic`, true when no
    patient's film was in the training data. `engines` is what export measured of the ways to run it, if there is an
    int8 graph (`pneumonia.engine_measurement`).
    """

    directory: Path
    name: str
    version: str
    created: str
    classes: tuple[str, ...]
    input_size: int
    parameters: int
    operating_point: OperatingPoint
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.directory / GRAPH

    @property
    def quantized_graph(self) -> Path | None:
        """The ONNX file in int8, where there is one."""
        path = self.directory / QUANTIZED_GRAPH
        return path if path.is_file() else None

    @property
    def typicality(self) -> Path:
        """What the input check compares films with."""
        return self.directory / TYPICALITY

    def held_out(self) -> HeldOut | None:
        """What it answers for the films of its held-out patients; None where it was exported before they were kept.

        Raises `BundleError` for a file that holds no such answers.
        """
        path = self.directory / VALIDATION
        return load_held_out(path) if path.is_file() else None

    @property
    def label(self) -> str:
        """`name:version`, as predictions carry it."""
        return f"{self.name}:{self.version}"

    @property
    def recalibration(self) -> dict[str, Any] | None:
        """What `pneumonia recalibrate` recorded, if it made the bundle."""
        recorded: dict[str, Any] | None = self.provenance.get("recalibration")
        return recorded

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on phantoms: then it means nothing for people."""
        return bool(self.provenance.get("synthetic", False))

    def describe(self) -> dict[str, Any]:
        """The content of `bundle.json` but for schema and checksums: what `GET /model/info` answers."""
        content = asdict(self)
        del content["directory"]
        return content | {"classes": list(self.classes)}


def graph_version(graph: Path, operating_point: OperatingPoint, quantized: Path | None = None) -> str:
    """Twelve hexadecimal digits that change with a graph or the operating point: with any answer it gives.

    With the same engine, that is: another runtime, or another of the bundle's graphs, rounds otherwise.
    """
    graphs = [graph] if quantized is None else [graph, quantized]
    point = asdict(operating_point)
    if not operating_point.offset:
        del point["offset"]  # as of bundles that were made before there was one
    content = "".join(map(sha256_of, graphs)) + json.dumps(point, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def same_network(one: Bundle, other: Bundle) -> bool:
    """Whether their log-odds differ by the offset of the operating point alone, for any film and the same engine."""
    alike = graph_version(one.graph, one.operating_point, one.quantized_graph) == graph_version(
        other.graph, one.operating_point, other.quantized_graph
    )
    return alike and one.operating_point.temperature == other.operating_point.temperature


def write_bundle(bundle: Bundle) -> None:
    """Write `bundle.json` for the files that are in the bundle's directory, with the SHA-256 of each and its own."""
    files = sorted(path for path in bundle.directory.iterdir() if path.is_file() and path.name != MANIFEST)
    checksums = {path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for path in files}
    content = {"schema": SCHEMA, **bundle.describe(), "files": checksums}
    write_json(bundle.directory / MANIFEST, {**content, "sha256": _own_checksum(content)})


def check_replaceable(output: Path) -> None:
    """Raise `ConfigError` for a path that holds something else than a bundle.

    What is replaced is a bundle, or nothing: a slip of the hand must not remove a folder of other things.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file()):
        raise ConfigError(f"{output} is there and is no bundle: name another folder, or remove it.")
    if output.name in ("", ".."):
        raise ConfigError(f"{output} is no name for a bundle's folder: name one that is not there yet.")
    file = next((parent for parent in output.parents if parent.is_file()), None)
    if file is not None:
        raise ConfigError(f"{output} can't be made: {file} is a file. Name another folder.")


def load_bundle(directory: Path | str) -> Bundle:
    """Read and verify a bundle. Raises `BundleError` when anything is missing, changed, or of another schema."""
    directory = Path(directory)
    content = read_bundle_manifest(directory)
    _verify_files(directory, content)
    try:
        bundle = Bundle(
            directory=directory,
            name=str(content["name"]),
            version=str(content["version"]),
            created=str(content["created"]),
            classes=tuple(map(str, content["classes"])),
            input_size=int(content["input_size"]),
            parameters=int(content["parameters"]),
            operating_point=OperatingPoint(**content["operating_point"]),
            metrics=dict(content["metrics"]),
            provenance=dict(content["provenance"]),
            engines=dict(content.get("engines", {})),
        )
        if len(bundle.operating_point.set_thresholds) != len(bundle.classes):
            raise ValueError(f"set_thresholds, one for each of {len(bundle.classes)} classes")
        if not isinstance(bundle.engines.get("order", []), list):
            raise ValueError("the order of engines, a list of names")
        _check_recalibration(bundle.recalibration)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(f"{directory / MANIFEST} lacks or misstates {error}; export the bundle again.") from error
    return bundle


def _check_recalibration(found: Any) -> None:
    """Raise `KeyError`, `TypeError` or `ValueError` for another thing than None or what a card can tell."""
    if found is None:
        return
    counts = [found[key] for key in _COUNTS] + list(found["classes"].values())
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError("the counts of its recalibration")
    columns = found["before"], found["after"]
    figures = [one for column in columns for one in (*(column[key] for key in _DECIDED), *column["covered"].values())]
    shares = [found["p_better"], *(column["coverage"] for column in columns)]
    shares += [figure[limit] for figure in figures for limit in ("value", "low", "high")]
    if not all(share is None or isinstance(share, float) for share in shares) or set(columns[0]["covered"]) != set(
        columns[1]["covered"]
    ):
        raise ValueError("the figures of its recalibration")


def read_bundle_manifest(directory: Path) -> dict[str, Any]:
    """The content of `bundle.json`, with its own checksum verified. Raises `BundleError`."""
    path = directory / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{directory} is no bundle: it has no {MANIFEST}. `pneumonia export` makes one.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} can't be read ({error}); export or pull the bundle again.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise BundleError(
            f"{path} has schema {found!r}, and this version of the package reads {SCHEMA}; export the bundle again, "
            "or use the version it was made with."
        )
    if content.get("sha256") != _own_checksum(content):
        raise BundleError(f"{path} is not what was exported: its own SHA-256 differs. Export or pull the bundle again.")
    return content


def _own_checksum(content: dict[str, Any]) -> str:
    """SHA-256 of what `bundle.json` says but for this: figures and threshold are as easily changed as a graph."""
    said = json.loads(json.dumps({key: value for key, value in content.items() if key != "sha256"}))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _verify_files(directory: Path, content: dict[str, Any]) -> None:
    files = content.get("files")
    listed = files if isinstance(files, dict) else {}
    for name in (GRAPH, TYPICALITY):
        if name not in listed:
            raise BundleError(f"{directory / MANIFEST} lists no {name}; export the bundle again.")
    for name in (QUANTIZED_GRAPH, VALIDATION):
        if name not in listed and (directory / name).exists():
            raise BundleError(f"{directory} holds a {name} that its {MANIFEST} does not list; pull it again.")
    for name, expected in listed.items():
        path = directory / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{directory} lacks the file {name!r} that its {MANIFEST} lists; pull it again.")
        if not isinstance(expected, dict) or sha256_of(path) != expected.get("sha256"):
            raise BundleError(
                f"{path} is not the file that was exported: its SHA-256 differs from {MANIFEST}. Do not use it; "
                "pull or export the bundle again."
            )
