"""`pneumonia classify`: predictions for files, one line each."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

from pneumonia import DISCLAIMER
from pneumonia.errors import ConfigError, DataError
from pneumonia.evaluation.conformal import in_percent
from pneumonia.images import IMAGE_SUFFIXES
from pneumonia.inference.engines.registry import add_engine_option, asked_engine, choose_engine
from pneumonia.inference.prediction import Answer, Prediction
from pneumonia.registry.resolve import add_bundle_options, resolve_bundle

API_KEY_VARIABLE = "PNEUMONIA_API_KEY"


def main(arguments: list[str]) -> int:
    """Classify files and folders; 1 when a file could not be read, after the others were."""
    options = _parse(arguments)
    paths = list(_expand(options.files))
    if not paths:
        raise DataError(f"There is no image in {', '.join(map(_shown, options.files))}.")
    lines = _Lines(paths, options.json, options.heatmaps)
    if options.url is not None:
        from pneumonia.inference.remote import api_key, classify_remotely

        key = api_key(options.api_key_file)
        classify_remotely(options.url, key, paths, options.heatmaps is not None, lines.add, options.audience)
    else:
        from pneumonia.inference.predictor import Predictor

        bundle = resolve_bundle(options)
        choice = choose_engine(bundle, asked_engine(options))
        if choice.note:
            print(choice.note, file=sys.stderr)  # noqa: T201
        predictor = Predictor(bundle, engine=choice.name)
        for answer in predictor.predict_files(paths, heatmaps=options.heatmaps is not None):
            lines.add(answer)
    return int(lines.failed)


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


class _Lines:
    """Prints a line for each answer, which come in the order of the paths; `failed` once one was an error."""

    def __init__(self, paths: list[Path], as_json: bool, heatmaps: Path | None) -> None:
        self._left = zip(paths, distinct_names(paths), strict=True)
        self._as_json, self._heatmaps = as_json, heatmaps
        self.failed = False

    def add(self, answer: Answer) -> None:
        path, name = next(self._left)
        heatmap = None
        if not isinstance(answer, Prediction):
            self.failed = True
        elif self._heatmaps is not None and answer.heatmap is not None:
            heatmap = _write_heatmap(self._heatmaps / f"{name}.heatmap.png", answer.heatmap)
        print(_as_json(path, answer, heatmap) if self._as_json else _as_text(path, answer), flush=True)  # noqa: T201


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pneumonia classify", description=__doc__, epilog=DISCLAIMER)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="X-ray files, or folders of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--heatmaps", type=Path, metavar="DIR", help="write a heatmap PNG for each film there")
    add_bundle_options(parser).add_argument(
        "--url", help="of a server (`pneumonia serve`) that the files are sent to; no bundle is loaded here"
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"holds the key that the server at --url asks for (default: the variable {API_KEY_VARIABLE})",
    )
    parser.add_argument(
        "--audience",
        help="send Google Cloud's identity token for it to the server at --url (one at https://*.run.app gets its own)",
    )
    add_engine_option(parser)
    options = parser.parse_args(arguments)
    if options.audience is not None and options.url is None:
        parser.error("--audience is for a server: give its --url too")
    if options.api_key_file is not None and options.url is None:
        parser.error("--api-key-file is for a server: give its --url too")
    if options.engine is not None and options.url is not None:
        parser.error("--engine is for a bundle that is loaded here; the server at --url has its own")
    return options


def _expand(files: Iterable[Path]) -> Iterable[Path]:
    for file in files:
        if file.is_dir():
            yield from sorted(
                path for path in file.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            )
        else:
            yield file


def _as_json(path: Path, answer: Answer, heatmap: Path | None) -> str:
    if not isinstance(answer, Prediction):
        return json.dumps({"path": str(path), "error": {"code": answer.code, "message": str(answer)}})
    written = {} if heatmap is None else {"heatmap_path": str(heatmap)}
    return json.dumps({"path": str(path), **answer.to_dict(), **written})


def _as_text(path: Path, answer: Answer) -> str:
    if not isinstance(answer, Prediction):
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


def _write_heatmap(path: Path, png: bytes) -> Path:
    from pneumonia.files import atomic_write

    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(png)
    except OSError as error:
        raise ConfigError(
            f"Can't write heatmaps into {path.parent} ({error.strerror}); name another folder."
        ) from error
    return path
