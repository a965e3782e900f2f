"""From what a prediction says of its model to all that is known of it: run, config, commit, data, tests, promotions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pneumonia.bundle import REFERENCE, Bundle, load_bundle
from pneumonia.errors import BundleError, RegistryError
from pneumonia.provenance import describe_recalibration, describe_reproducibility
from pneumonia.registry.base import BEST, STAGED, Entry, Registry

_FIGURES = ("auroc", "accuracy", "sensitivity", "specificity")
# What provenance holds beside the trainer's settings, and is shown under a heading of its own or by other commands.
_NOT_CONFIG = (
    "synthetic",
    "data",
    "data_version",
    "git",
    "versions",
    "run",
    "reproducibility",
    "probes",
    "recalibration",
)


def describe_model(registry: Registry, reference: str) -> dict[str, Any]:
    """All that is known of `name:version`, an alias, or a prediction's `model`; strict JSON.

    What no registry has is looked for in the package, which carries the reference bundle. Raises `RegistryError` when
    it is not there either.
    """
    try:
        entry = registry.find(reference)
    except RegistryError:
        packaged = _packaged(reference)
        if packaged is None:
            raise
        return {"registry": None, "reference": packaged.label, "aliases": [], **_of_bundle(packaged), STAGED: None}
    return _of_entry(registry, entry)


def tell(described: Mapping[str, Any]) -> Iterator[str]:
    """The same for people, line by line."""
    where = described["registry"] or "the package itself"
    yield f"{described['reference']}  {' '.join(described['aliases'])}".rstrip()
    yield f"  registry    {where}"
    if described.get("pushed"):
        yield f"  pushed      {described['pushed']} by {described['pushed_by']}"
    if "damaged" in described:
        yield f"  DAMAGED     {described['damaged']}"
    else:
        yield from _tell_bundle(described)
    yield from _tell_staged(described[STAGED])
    for event in described.get("promotions", []):
        forced = ", BY FORCE" if event["forced"] else ""
        why = ": ".join(filter(None, [event["reason"], event["finding"]]))
        yield f"  {event['action']:<11} {event['when']} by {event['who']}{forced}{'; ' if why else ''}{why}"


def _tell_bundle(described: Mapping[str, Any]) -> Iterator[str]:
    yield f"  model       {described['model']}, exported {described['created']}"
    if described["synthetic"]:
        yield "  SYNTHETIC   trained on phantoms: it means nothing for people"
    run, git, data = described["run"], described["git"], described["data"]
    yield f"  run         {_pairs(run) if run else 'not tracked'}"
    changed = {True: ", with changes that were not committed", False: "", None: ""}[git.get("dirty")]
    yield f"  commit      {git.get('commit') or 'unknown'}{changed}"
    yield f"  data        {_pairs(data)}"
    yield f"  data.dvc    {_data_version(described['data_version'])}"
    yield f"  made again  {describe_reproducibility(described)}"
    if described["recalibration"]:
        yield f"  recalibrated {describe_recalibration(described['recalibration'])}"
    for name, value in described["config"].items():
        yield f"  config      {name}: {json.dumps(value)}"
    for split, figures in described["metrics"].items():
        yield f"  {split:<11} {_pairs(figures)}"


def _tell_staged(staged: Mapping[str, Any] | None) -> Iterator[str]:
    if staged is None:
        yield "  staged      not tested in a registry"
        return
    yield f"  staged      {'passed' if staged['passed'] else 'FAILED'} {staged['when']} by {staged['who']}"
    for check in staged["checks"]:
        yield f"    {check['outcome']:<4} {check['name']:<12} {check['words']}"


def _of_entry(registry: Registry, entry: Entry) -> dict[str, Any]:
    try:
        bundle = _of_bundle(load_bundle(registry.pull(entry.reference)))
    except (RegistryError, BundleError) as error:
        bundle = {"damaged": str(error)}
    moves = [event for event in registry.history() if event.alias == BEST and event.reference == entry.reference]
    return {
        "registry": registry.place,
        "reference": entry.reference,
        "aliases": entry.aliases,
        "pushed": entry.created,
        "pushed_by": entry.pushed_by,
        **bundle,
        STAGED: entry.metadata.get(STAGED),
        "promotions": list(map(asdict, moves)),
    }


def _of_bundle(bundle: Bundle) -> dict[str, Any]:
    known = bundle.provenance
    return {
        "model": bundle.label,
        "created": bundle.created,
        "synthetic": bundle.synthetic,
        "run": known.get("run"),
        "config": {name: value for name, value in known.items() if name not in _NOT_CONFIG},
        "git": known.get("git", {}),
        "data": known.get("data", {}),
        "data_version": known.get("data_version"),
        "reproducibility": known.get("reproducibility"),
        "versions": known.get("versions", {}),
        "operating_point": asdict(bundle.operating_point),
        "recalibration": bundle.recalibration,
        "metrics": {split: _headline(figures) for split, figures in bundle.metrics.items()},
    }


def _data_version(version: Mapping[str, Any] | None) -> str:
    if version is None:
        return "not compared with the films"
    same = {True: "its films", False: "NOT its films", None: "whether its films is unknown"}[version["same"]]
    return f"{version['tracked'] or 'none'}, {same}{': ' if version['note'] else ''}{version['note']}"


def _headline(figures: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: figures[name]["value"] for name in _FIGURES if isinstance(figures.get(name), dict)}
    return {"n": figures.get("n"), **values}


def _packaged(reference: str) -> Bundle | None:
    bundle = load_bundle(REFERENCE)
    return bundle if reference in (bundle.label, bundle.version, bundle.name) else None


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
