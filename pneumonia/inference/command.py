"""`pneumonia classify`: predictions for files, one line each."""

import argparse
import json
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

from pneumonia import DISCLAIMER
from pneumonia.errors import ConfigError, DataError, ImageError
from pneumonia.evaluation.conformal import in_percent
from pneumonia.images import IMAGE_SUFFIXES
from pneumonia.inference.prediction import Prediction
from pneumonia.registry.resolve import add_bundle_options, resolve_bundle


def main(arguments: list[str]) -> int:
    """Classify files and folders; 1 when a file could not be read, after the others were."""
    parser = argparse.ArgumentParser(prog="pneumonia classify", description=__doc__, epilog=DISCLAIMER)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="X-ray files, or folders of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--heatmaps", type=Path, metavar="DIR", help="write a heatmap PNG for each film there")
    add_bundle_options(parser)
    options = parser.parse_args(arguments)
    from pneumonia.inference.predictor import Predictor

    predictor = Predictor(resolve_bundle(options))
    paths = list(_expand(options.files))
    if not paths:
        raise DataError(f"There is no image in {', '.join(map(_shown, options.files))}.")
    answers = predictor.predict_files(paths, heatmaps=options.heatmaps is not None)
    failed = False
    for path, name, answer in zip(paths, distinct_names(paths), answers, strict=True):
        failed |= isinstance(answer, ImageError)
        heatmap = None
        if options.heatmaps is not None and isinstance(answer, Prediction):
            heatmap = _write_heatmap(options.heatmaps / f"{name}.heatmap.png", answer)
        print(_as_json(path, answer, heatmap) if options.json else _as_text(path, answer), flush=True)  # noqa: T201
    return int(failed)


def distinct_names(paths: Iterable[Path]) -> Iterator[str]:
    """A name for each path: its stem, numbered from the second path on that has it.

    Names that differ in case alone count as equal: some file systems do not tell them apart.

    >>> list(distinct_names([Path("a/film.jpeg"), Path("b/film.jpeg"), Path("c/film-2.png")]))
    ['film', 'film-2', 'film-2-2']
    """
    taken: set[str] = set()
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in count(2))
        name = next(name for name in chain([path.stem], numbered) if name.casefold() not in taken)
        taken.add(name.casefold())
        yield name


def _expand(files: Iterable[Path]) -> Iterable[Path]:
    for file in files:
        if file.is_dir():
            yield from sorted(
                path for path in file.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            )
        else:
            yield file


def _as_json(path: Path, answer: Prediction | ImageError, heatmap: Path | None) -> str:
    if isinstance(answer, ImageError):
        return json.dumps({"path": str(path), "error": {"code": answer.code, "message": str(answer)}})
    written = {} if heatmap is None else {"heatmap_path": str(heatmap)}
    return json.dumps({"path": str(path), **answer.to_dict(), **written})


def _as_text(path: Path, answer: Prediction | ImageError) -> str:
    if isinstance(answer, ImageError):
        return f"{_shown(path)}: error: {answer}"
    unsure = ""
    if not answer.input_check.passed:
        unsure = "  not to be used: " + " ".join(answer.input_check.reasons)
    elif answer.abstained:
        possible = " or ".join(answer.prediction_set) or "none fits"
        unsure = f"  not sure at a coverage of {in_percent(answer.coverage)}: {possible}"
    return f"{_shown(path)}: {answer.prediction}  {answer.probability:.4f} (threshold {answer.threshold:.4f}){unsure}"


def _shown(path: Path) -> str:
    """The path as text that any terminal takes: a file name may hold bytes that are no text."""
    return str(path).encode(errors="backslashreplace").decode()


def _write_heatmap(path: Path, answer: Prediction) -> Path:
    from pneumonia.files import atomic_write

    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(answer.heatmap or b"")
    except OSError as error:
        raise ConfigError(
            f"Can't write heatmaps into {path.parent} ({error.strerror}); name another folder."
        ) from error
    return path
