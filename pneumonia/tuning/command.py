"""`pneumonia tune`: search settings for `pneumonia fit` by validation AUROC, without an account anywhere."""

import argparse
from pathlib import Path

from filelock import FileLock, Timeout

from pneumonia.errors import ConfigError
from pneumonia.tuning.options import resolved_config
from pneumonia.tuning.report import BEST_CONFIG, write_report
from pneumonia.tuning.search import Search
from pneumonia.tuning.search_space import OBJECTIVE, SearchSpace, read_search_space
from pneumonia.tuning.study import begin, tune

_EPILOG = """
Every other option is one of `pneumonia fit`, and each trial has it: --config, --data.root, --trainer.max_epochs ...
The same command again goes on where it stopped, and adds trials when --trials is more.
"""


def main(arguments: list[str]) -> int:
    """Run the search, or go on with it, and write its report, also when it is interrupted. Raises `ConfigError`."""
    settings, options = parser().parse_known_args(arguments)
    if not any(word.partition("=")[0] in ("--config", "-c") for word in options):
        raise ConfigError("Name what is tuned: --config configs/cnn.yaml, or another config of `pneumonia fit`.")
    space = read_search_space(settings.space)
    config = resolved_config(options)
    _check(space, config, options, settings.space)
    search = Search(
        folder=settings.output,
        options=options,
        config=config,
        space=space,
        trials=settings.trials,
        workers=settings.workers,
        timeout=settings.timeout,
        seed=settings.seed,
    )
    settings.output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.output / ".lock", timeout=0):
            _run(search)
    except Timeout as error:
        raise ConfigError(
            f"Another `pneumonia tune` is at work in {settings.output}; wait for it, or name another --output."
        ) from error
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of the search; those of `fit` are not among them."""
    made = argparse.ArgumentParser(
        prog="pneumonia tune",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--space", type=Path, required=True, help="YAML as of a W&B sweep, such as configs/sweep.yaml")
    made.add_argument("--output", type=Path, required=True, help="folder of the study, its runs and its report")
    made.add_argument("--trials", type=_count, default=20, help="in all (default: %(default)s)")
    made.add_argument("--workers", type=_count, default=1, help="trials at a time (default: %(default)s)")
    made.add_argument("--timeout", type=float, help="seconds after which no trial begins")
    made.add_argument("--seed", type=int, default=0, help="of the search (default: %(default)s)")
    return made


def _run(search: Search) -> None:
    study = begin(search)
    try:
        tune(search, study, _say)
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on")
        raise
    finally:
        best = write_report(search, study)["best"]
        _say(f"report: {search.folder / 'report.md'}")
    if best is not None:
        _say(f"best: trial {best['number']}, {OBJECTIVE} {best['value']:.4f}")
        _say(f"train it: pneumonia fit --config {search.folder / BEST_CONFIG}")


def _check(space: SearchSpace, config: dict[str, object], options: list[str], path: Path) -> None:
    """Refuse at once what would fail in each trial."""
    trainer = config["trainer"]
    assert isinstance(trainer, dict)
    if trainer["strategy"] != "auto" or trainer["num_nodes"] != 1:
        raise ConfigError("A trial is one process: leave trainer.strategy and trainer.num_nodes as they are.")
    for parameters in space.corners():
        try:
            resolved_config([*options, *space.options(parameters)])
        except ConfigError as error:
            raise ConfigError(f"The search space {path} does not suit the config. {error}") from error


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
