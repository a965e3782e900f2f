"""A bundle as an artifact of Weights & Biases: what is written to its metadata, and what is read of it."""

import datetime
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pneumonia.bundle import MANIFEST, Bundle
from pneumonia.registry.base import Entry, Event

# W&B's own alias of the newest version: no one gave it.
LATEST = "latest"
# In a pulled bundle's folder, beside its files: what it is called in W&B. `GET /model/info` shows it.
SIDECAR = "wandb_artifact.json"
_RECORD = "registry"


def bundle_files(bundle: Bundle, listed: Mapping[str, Any]) -> list[Path]:
    """The files that a bundle's `bundle.json` lists, and that file: nothing else in its folder is sent."""
    return [bundle.directory / name for name in (MANIFEST, *sorted(listed))]


def bundle_metadata(bundle: Bundle) -> dict[str, Any]:
    """What W&B shows of a bundle: version, validation metrics and where it comes from. `val_loss` is the log loss."""
    provenance = bundle.provenance
    validation = {
        name: figure["value"]
        for name, figure in bundle.metrics.get("validation", {}).items()
        if isinstance(figure, Mapping) and "value" in figure
    }
    return {
        "bundle_version": bundle.version,
        "synthetic": bundle.synthetic,
        "classes": list(bundle.classes),
        "input_size": bundle.input_size,
        "parameters": bundle.parameters,
        "operating_point": {name: getattr(bundle.operating_point, name) for name in ("threshold", "rule", "offset")},
        "recalibrated_from": None if bundle.recalibration is None else bundle.recalibration["source"],
        "validation": {**validation, "val_loss": validation_loss(bundle)},
        "data_digest": provenance.get("data", {}).get("digest"),
        "git": provenance.get("git"),
        "run": provenance.get("run"),
    }


def validation_loss(bundle: Bundle) -> float | None:
    """Mean negative log-likelihood of the held-out labels under the calibrated probabilities; None without answers."""
    answers = bundle.held_out()
    if answers is None or len(answers) == 0:
        return None
    said = np.where(answers.labels == 1, answers.probabilities, 1 - answers.probabilities)
    return float(-np.log(said.clip(1e-7, 1)).mean())


def record_of(artifact: Any) -> dict[str, Any]:
    """What the registry wrote to an artifact: `pushed_by`, `notes` and `events`; empty for one linked by hand."""
    return dict(artifact.metadata.get(_RECORD) or {})


def with_record(artifact: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    """The artifact's metadata with that record."""
    return {**artifact.metadata, _RECORD: dict(record)}


def with_event(record: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """A record with one more event. Its order among those of other artifacts is kept to the nanosecond."""
    return {**record, "events": [*record.get("events", []), {**asdict(event), "at": time.time_ns()}]}


def entry_of(artifact: Any) -> Entry:
    """The registry's entry of a linked artifact."""
    record = record_of(artifact)
    return Entry(
        name=collection_of(artifact),
        version=artifact.version,
        bundle_version=str(artifact.metadata.get("bundle_version", "")),
        aliases=[alias for alias in artifact.aliases if alias != LATEST],
        created=artifact.created_at,
        pushed_by=str(record.get("pushed_by", "")),
        metadata=dict(record.get("notes") or {}),
    )


def events_of(artifact: Any) -> list[tuple[int, Event]]:
    """What was done to an artifact, with the time of each in nanoseconds."""
    known = {item.name for item in fields(Event)}
    return [
        (int(event.get("at", 0)), Event(**{key: value for key, value in event.items() if key in known}))
        for event in record_of(artifact).get("events", [])
    ]


def first_seen(artifact: Any) -> int:
    """When an artifact was pushed, in nanoseconds; of one that was linked by hand, when it was made."""
    made = datetime.datetime.fromisoformat(artifact.created_at).replace(tzinfo=datetime.UTC)
    return min((at for at, _ in events_of(artifact)), default=int(made.timestamp()) * 10**9)


def collection_of(artifact: Any) -> str:
    """The name of the collection that an artifact was fetched from."""
    return str(artifact.name).partition(":")[0]


def read_sidecar(directory: Path) -> dict[str, Any] | None:
    """What was written beside a bundle that was pulled from W&B; None for one from elsewhere."""
    try:
        content = json.loads((directory / SIDECAR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def described(artifact: Any) -> dict[str, Any]:
    """What `GET /model/info` says of where a bundle came from."""
    validation = artifact.metadata.get("validation") or {}
    return {
        "name": str(artifact.qualified_name).partition(":")[0],
        "version": artifact.version,
        "validation_accuracy": validation.get("accuracy"),
        "best_val_loss": validation.get("val_loss"),
    }
