"""The study: every trial, its parameters and its validation AUROC by epoch, in one SQLite file."""

from pathlib import Path

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage

from pneumonia.errors import ConfigError
from pneumonia.tuning.search_space import SearchSpace

STUDY = "pneumonia"
_PATIENCE = 120  # seconds that a process waits for others to write
_SEED_STRIDE = 1_000_003


def open_study(path: Path, space: SearchSpace) -> optuna.Study:
    """The study in a file, made when it is not there. Raises `ConfigError` for a file that is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": _PATIENCE}})
        return optuna.create_study(
            storage=storage,
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
            sampler=RandomSampler(),
            pruner=pruner(space),
        )
    except Exception as error:  # of SQLAlchemy, Alembic or Optuna, by what the file is
        raise ConfigError(
            f"{path} can't be opened as a study ({type(error).__name__}); name another --output."
        ) from error


def pruner(space: SearchSpace) -> BasePruner:
    """Successive halving (Li et al. 2020), which is what W&B's `hyperband` does, or none."""
    if space.min_epochs is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=space.min_epochs, reduction_factor=space.reduction)


def sampler(space: SearchSpace, seed: int, number: int) -> BaseSampler:
    """What draws the trial of a number: a function of the seed, and of the trials before it.

    A sampler that lived on would draw its first parameters again after each interruption.
    """
    own = seed * _SEED_STRIDE + number
    return RandomSampler(seed=own) if space.method == "random" else TPESampler(seed=own, multivariate=True)
