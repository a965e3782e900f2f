"""Which rows train, which validate and which test, so that no patient and no identical file crosses."""

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pneumonia.data.manifest import Manifest
from pneumonia.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Indices into a manifest's rows, each ascending."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def named(self, name: str) -> tuple[int, ...]:
        """The indices of `train`, `validation`, `test` or `all`. Raises `DataError` for another name."""
        if name == "all":
            return tuple(sorted(self.train + self.validation + self.test))
        if name not in ("train", "validation", "test"):
            raise DataError(f"There is no split {name!r}; choose train, validation, test or all.")
        indices: tuple[int, ...] = getattr(self, name)
        return indices


def assign_splits(manifest: Manifest, validation_fraction: float = 0.15, seed: int = 0, leave_out: str = "") -> Splits:
    """Hold patients out of the official train (and val) folders for validation; the official test stays test.

    The official val folder (16 images) joins the training data. Patients who share an identical file are kept
    together. Groups are drawn by a hash of seed and name, separately for each combination of labels and pathogens,
    until a stratum's share of images is reached: the same tree and seed give the same split on every machine, and a
    patient added later moves at most the group at the border. Training files that are identical to a test file are
    left out.

    `leave_out` is a regular expression that begins patients' names: those patients validate besides the drawn ones.
    With the name of a hospital, a device or a series it shows what a network makes of films that no training had the
    like of; patients drawn at random can't.

    Raises `DataError` when the fraction is outside (0, 1), no patient is named by `leave_out`, or a part lacks a label.
    """
    if not 0.0 < validation_fraction < 1.0:
        raise DataError(f"validation_fraction is {validation_fraction}; it has to lie between 0 and 1, e.g. 0.15.")
    test = tuple(index for index, row in enumerate(manifest.rows) if row.split == "test")
    tested = {manifest.rows[index].sha256 for index in test}
    usable = [index for index, row in enumerate(manifest.rows) if row.split != "test" and row.sha256 not in tested]
    dropped = len(manifest.rows) - len(test) - len(usable)
    if dropped:
        logger.warning("%d training files are identical to test files and are left out.", dropped)
    held_out = set(_draw(manifest, usable, validation_fraction, seed) + _left_out(manifest, usable, leave_out))
    validation = tuple(sorted(held_out))
    train = tuple(index for index in usable if index not in held_out)
    for name, part in (("train", train), ("validation", validation)):
        labels = {manifest.rows[index].label for index in part}
        if len(labels) < 2:
            raise DataError(
                f"The {name} part of {manifest.root} holds {len(part)} files and only the labels {sorted(labels)}; "
                "both are needed. Add patients, or change validation_fraction or leave_out."
            )
    return Splits(train, validation, test)


def recorded_splits(manifest: Manifest, data: Mapping[str, Any]) -> Splits:
    """The splits of a run that recorded `ChestXRayDataModule.describe()`; the defaults for what it did not record.

    A tree without a train folder is test as a whole.
    """
    if not any(row.split == "train" for row in manifest.rows):
        return Splits((), (), tuple(range(len(manifest.rows))))
    return assign_splits(
        manifest, data.get("validation_fraction", 0.15), data.get("split_seed", 0), data.get("leave_out", "")
    )


def _draw(manifest: Manifest, usable: list[int], fraction: float, seed: int) -> list[int]:
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for members in connected_films(manifest, usable):
        kinds = sorted({f"{manifest.rows[index].label}/{manifest.rows[index].pathogen}" for index in members})
        strata["+".join(kinds)].append(members)
    drawn: list[int] = []
    for stratum in strata.values():
        wanted = round(fraction * sum(map(len, stratum)))
        taken = 0
        for members in sorted(stratum, key=lambda group: _order(manifest, group, seed)):
            if taken + len(members) / 2 > wanted:
                break
            drawn += members
            taken += len(members)
    return drawn


def _left_out(manifest: Manifest, usable: list[int], pattern: str) -> list[int]:
    """The groups of patients whose names begin with a pattern."""
    if not pattern:
        return []
    try:
        named = re.compile(pattern)
    except re.error as error:
        raise DataError(f"leave_out is {pattern!r}, which is no regular expression: {error}.") from error
    groups = [
        members
        for members in connected_films(manifest, usable)
        if any(named.match(manifest.rows[index].patient) for index in members)
    ]
    if not groups:
        raise DataError(
            f"No patient of {manifest.root} has a name that begins with leave_out, {pattern!r}; "
            "the names are the beginnings of the files' names."
        )
    return [index for members in groups for index in members]


def connected_films(manifest: Manifest, usable: list[int]) -> list[list[int]]:
    """The rows of these indices in groups: of one patient, or with identical bytes, directly or by others."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for index in usable:
        row = manifest.rows[index]
        parent[find("patient " + row.patient)] = find("sha256 " + row.sha256)
    groups: dict[str, list[int]] = defaultdict(list)
    for index in usable:
        groups[find("patient " + manifest.rows[index].patient)].append(index)
    return list(groups.values())


def _order(manifest: Manifest, members: list[int], seed: int) -> bytes:
    name = min(manifest.rows[index].patient for index in members)
    return hashlib.sha256(os.fsencode(f"{seed}:{name}")).digest()
