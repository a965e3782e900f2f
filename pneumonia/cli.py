"""The one list of commands. Nothing heavy is imported until a command runs, so that `--help` answers at once."""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from pneumonia import DISCLAIMER, __version__
from pneumonia.errors import PneumoniaError


class Command(NamedTuple):
    """A command's one-line help, the function `module:name` that takes its arguments, and the extra it needs."""

    help: str
    function: str
    extra: str = ""


_TRAINING = "pneumonia.training.cli:main"

COMMANDS = {
    "data": Command("fetch, index, describe or synthesise a data tree", "pneumonia.data.command:main"),
    "fit": Command("train a network: pneumonia fit --config configs/cnn.yaml", _TRAINING, "train"),
    "tune": Command("search settings for fit, by validation AUROC", "pneumonia.tuning.command:main", "train,tune"),
    "validate": Command("metrics of a checkpoint on patients held out of train", _TRAINING, "train"),
    "test": Command("metrics of a checkpoint on the official test folder", _TRAINING, "train"),
    "predict": Command("probabilities of a checkpoint, as CSV", _TRAINING, "train"),
    "export": Command("checkpoint to bundle, checked and calibrated", "pneumonia.export:main", "train"),
    "evaluate": Command("report of a bundle on a split, with intervals", "pneumonia.evaluation.command:main"),
    "recalibrate": Command("bundle with its operating point fitted on your own films", "pneumonia.recalibration:main"),
    "classify": Command("predictions for files, of a bundle or a server", "pneumonia.inference.command:main"),
    "registry": Command("push, list, pull and promote bundles", "pneumonia.registry.command:main"),
    "serve": Command("HTTP API (and page, with --demo)", "pneumonia.serving.command:main", "serve"),
    "keys": Command("make, list and revoke API keys for serve", "pneumonia.serving.keys_command:main"),
    "demo": Command("web page for an API that runs elsewhere", "pneumonia.demo.command:main", "demo"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 when it worked, 1 for an error it explains, 2 for a command line it can't read."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage())  # noqa: T201
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(f"pneumonia {__version__}")  # noqa: T201
        sys.exit(0)
    sys.exit(_run(words))


def usage() -> str:
    """The help text: every command in one line."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    return (
        "usage: pneumonia COMMAND [OPTIONS]\n\n"
        "Classify chest X-rays as NORMAL or PNEUMONIA: train, prove, serve.\n"
        f"{DISCLAIMER}\n\n"
        f"commands:\n{listed}\n\n"
        "`pneumonia COMMAND --help` tells a command's options."
    )


def _run(words: list[str]) -> int:
    command = COMMANDS.get(words[0])
    if command is None:
        return _fail(f"there is no command {words[0]!r}; `pneumonia --help` lists them.", code=2)
    module, _, function = command.function.partition(":")
    try:
        run = getattr(importlib.import_module(module), function)
        # The training commands share one parser, which has to see which of them was asked for.
        result = run(words if command.function == _TRAINING else words[1:])
    except PneumoniaError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        if not command.extra or (error.name or "").startswith("pneumonia"):
            raise
        wanted = f"pneumonia[{command.extra}]"
        return _fail(f"`{words[0]}` needs {error.name}, which is not installed: pip install '{wanted}'")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int = 1) -> int:
    print(f"pneumonia: error: {message}", file=sys.stderr)  # noqa: T201
    return code
