"""Run the staged tests of a bundle, and write what came of them back to the registry."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import BundleError, PneumoniaError, RegistryError
from pneumonia.images import read_radiograph
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.predictor import Predictor
from pneumonia.inference.probes import write_probes
from pneumonia.provenance import software_versions
from pneumonia.registry.base import BEST, STAGED, Entry, Registry, current_user, timestamp
from pneumonia.registry.staged import clinical, technical
from pneumonia.registry.staged.probes import copies
from pneumonia.registry.staged.result import (
    FAILED,
    PASSED,
    SKIPPED,
    Check,
    CheckFailedError,
    CheckSkippedError,
    StagedResult,
)
from pneumonia.registry.staged.subject import StagedOptions, Subject

CHECKSUMS, OPENS, LATENCY = "checksums", "opens", "latency"

_CHECKS: dict[str, Callable[[Subject], str]] = {
    "version": technical.check_version,
    "served": technical.check_served,
    "contract": technical.check_contract,
    "finite": technical.check_finite,
    "batch": technical.check_batch,
    "probes": technical.check_probes,
    "invariances": technical.check_invariances,
    "figures": clinical.check_figures,
    "films": clinical.check_films,
    "best": clinical.check_best,
}
# Every name that a result has, in its order.
CHECKS = (CHECKSUMS, OPENS, *_CHECKS, LATENCY)


def examine_entry(registry: Registry, reference: str, options: StagedOptions) -> tuple[Entry, StagedResult]:
    """Test a bundle of a registry against its `best`; the result is written to the entry's metadata.

    Raises `RegistryError` when there is no such entry. A damaged one is a result that failed.
    """
    entry, best = registry.find(reference), registry.holder(BEST)
    try:
        directory = registry.pull(entry.reference)
    except RegistryError as error:
        result = _result(entry.bundle_version, [Check(CHECKSUMS, FAILED, str(error)), *_left_out((CHECKSUMS,))])
    else:
        other = None if best is None or best.reference == entry.reference else _loaded(registry, best)
        result = examine_bundle(directory, options, other, _earlier_baseline(entry))
    return registry.annotate(entry.reference, {STAGED: result.as_json()}), result


def _loaded(registry: Registry, entry: Entry) -> Bundle | None:
    try:
        return load_bundle(registry.pull(entry.reference))
    except RegistryError:  # that the present best is damaged is no fault of the one that is tested
        return None


def examine_bundle(
    directory: Path, options: StagedOptions, best: Bundle | None = None, baselines: Mapping[str, float] | None = None
) -> StagedResult:
    """Every check of the bundle in a directory, whatever becomes of the others, as far as it can be loaded.

    `best` is what it might replace; `baselines` are milliseconds an image by engine that were measured before.
    """
    try:
        bundle = load_bundle(directory)
    except BundleError as error:
        return _result("", [Check(CHECKSUMS, FAILED, str(error)), *_left_out((CHECKSUMS,))])
    checks = [Check(CHECKSUMS, PASSED, "every file is what was exported")]
    with tempfile.TemporaryDirectory(prefix="pneumonia-staged-") as folder:
        try:
            subject = _subject(bundle, Path(folder), options, best, baselines or {})
        except Exception as error:  # a broken bundle may fail in any way
            failed = Check(OPENS, FAILED, _words(error))
            return _result(bundle.version, [*checks, failed, *_left_out((CHECKSUMS, OPENS))])
        checks.append(
            Check(OPENS, PASSED, f"engine {subject.engine}, {bundle.input_size} px, {bundle.parameters:,} weights")
        )
        checks += [_run(name, partial(check, subject)) for name, check in _CHECKS.items()]
        taken: dict[str, float] = {}

        def latency() -> str:
            taken.update(technical.milliseconds(subject))
            return technical.check_latency(subject, taken)

        checks.append(_run(LATENCY, latency))
    return _result(bundle.version, checks, subject.engine, taken.get(subject.engine), {**taken, **subject.baselines})


def _subject(
    bundle: Bundle, folder: Path, options: StagedOptions, best: Bundle | None, baselines: Mapping[str, float]
) -> Subject:
    predictor = Predictor(bundle, threads=1)
    probes = write_probes(folder)
    of_films = [copies(path) for path in probes]
    return Subject(
        bundle=bundle,
        predictor=predictor,
        engine=choose_engine(bundle).name,
        probes=probes,
        radiographs=[predictor.read(path) for path in probes],
        copies={name: [read_radiograph(files[name], bundle.input_size) for files in of_films] for name in of_films[0]},
        options=options,
        best=best,
        baselines={**baselines, **_exported_baselines(bundle)},
    )


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, PASSED, check())
    except CheckSkippedError as skipped:
        return Check(name, SKIPPED, str(skipped))
    except Exception as failed:  # a broken bundle may fail in any way
        return Check(name, FAILED, _words(failed))


def _words(error: Exception) -> str:
    said = isinstance(error, (CheckFailedError, PneumoniaError))
    return str(error) if said else f"{type(error).__name__}: {error}"


def _left_out(done: tuple[str, ...]) -> list[Check]:
    return [Check(name, SKIPPED, "it can't be loaded") for name in CHECKS if name not in done]


def _result(
    version: str,
    checks: list[Check],
    engine: str = "",
    milliseconds: float | None = None,
    baselines: Mapping[str, float] | None = None,
) -> StagedResult:
    when, who, versions = timestamp(), current_user(), software_versions()
    return StagedResult(version, when, who, checks, engine, milliseconds, dict(baselines or {}), versions)


def _exported_baselines(bundle: Bundle) -> dict[str, float]:
    """What export measured of its engines, one image at a time."""
    measured = bundle.engines.get("measured", {})
    return {name: float(figures["milliseconds"]["1"]) for name, figures in measured.items()}


def _earlier_baseline(entry: Entry) -> dict[str, float]:
    """What the first test of the same entry with that engine measured."""
    earlier = entry.metadata.get(STAGED, {})
    return dict(earlier.get("baselines", {}))
