"""A process that loads a bundle as a server's worker does, answers for films, and says what it had to import.

`python -m pneumonia.registry.staged.served BUNDLE FILM...` prints one JSON object.
"""

import json
import sys
from pathlib import Path

from pneumonia.bundle import load_bundle
from pneumonia.errors import ImageError
from pneumonia.inference.engines.registry import choose_engine
from pneumonia.inference.predictor import Predictor


def main(arguments: list[str]) -> None:
    """Print `engine`, `torch` (whether it is imported) and `predictions`, None for a film that can't be decoded."""
    directory, *films = map(Path, arguments)
    bundle = load_bundle(directory)
    answers = list(Predictor(bundle, threads=1).predict_files(films))
    said = {
        "engine": choose_engine(bundle).name,
        "torch": "torch" in sys.modules,
        "predictions": [None if isinstance(answer, ImageError) else answer.to_dict() for answer in answers],
    }
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
