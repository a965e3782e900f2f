"""`pneumonia classify`: predictions for files, one line each."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from pneumonia import DISCLAIMER
from pneumonia.errors import ImageError
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
    failed = False
    for path, answer in zip(paths, predictor.predict_files(paths, heatmaps=options.heatmaps is not None), strict=True):
        failed |= isinstance(answer, ImageError)
        print(_as_json(path, answer) if options.json else _as_text(path, answer), flush=True)  # noqa: T201
        if options.heatmaps is not None and isinstance(answer, Prediction):
            _write_heatmap(options.heatmaps, path, answer)
    return int(failed)


def _expand(files: Iterable[Path]) -> Iterable[Path]:
    for file in files:
        if file.is_dir():
            yield from sorted(
                path for path in file.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            )
        else:
            yield file


def _as_json(path: Path, answer: Prediction | ImageError) -> str:
    if isinstance(answer, ImageError):
        return json.dumps({"path": str(path), "error": {"code": answer.code, "message": str(answer)}})
    return json.dumps({"path": str(path), **answer.to_dict()})


def _as_text(path: Path, answer: Prediction | ImageError) -> str:
    if isinstance(answer, ImageError):
        return f"{path}: error: {answer}"
    unsure = "" if answer.input_check.passed else "  not to be used: " + " ".join(answer.input_check.reasons)
    return f"{path}: {answer.prediction}  {answer.probability:.4f} (threshold {answer.threshold:.4f}){unsure}"


def _write_heatmap(folder: Path, path: Path, answer: Prediction) -> None:
    from pneumonia.files import atomic_write

    with atomic_write(folder / f"{path.stem}.heatmap.png") as temporary:
        temporary.write_bytes(answer.heatmap or b"")
