"""The report of a search says what was best, what mattered, and what failed, of a study that is made up here."""

import json
import random
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pneumonia.tuning.report import write_report
from pneumonia.tuning.search import Search
from pneumonia.tuning.search_space import parse_search_space
from pneumonia.tuning.storage import open_study, sampler

RATE, WIDTHS = "model.learning_rate", "model.network.init_args.widths"
SPACE = parse_search_space(
    {"parameters": {RATE: {"min": 0.0, "max": 1.0}, WIDTHS: {"values": [[8], [16]]}, "seed_everything": {"value": 3}}}
)


def trial_of(
    rate: float, value: float | None, state: TrialState = TrialState.COMPLETE, **attributes: str
) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={RATE: rate, WIDTHS: "[8]" if rate < 0.5 else "[16]"},
        distributions={RATE: FloatDistribution(0.0, 1.0), WIDTHS: CategoricalDistribution(["[8]", "[16]"])},
        intermediate_values={} if value is None else {0: value / 2, 1: value, 2: float("nan")},
        user_attrs=attributes,
    )


@pytest.fixture
def search(tmp_path: Path) -> Search:
    config = {"trainer": {"devices": "auto", "enable_progress_bar": None}}
    return Search(tmp_path / "search", ["--config=cnn.yaml"], config, SPACE, trials=30)


@pytest.fixture
def study(search: Search) -> optuna.Study:
    """Twenty trials, of which the value is the learning rate; one that failed, one given up, one not ended."""
    made = open_study(search.folder / "study.db", search.space)
    chance = random.Random(0)
    for number in range(20):
        rate = chance.random()
        made.add_trial(trial_of(rate, rate))
        folder = search.run_folder(number)
        folder.mkdir(parents=True)
        run = {"trainer": {"devices": 1, "default_root_dir": str(folder)}, "ckpt_path": "last", "model": {"rate": rate}}
        (folder / "config.yaml").write_text(yaml.safe_dump(run))
    made.add_trial(trial_of(0.2, None, TrialState.FAIL, reason="no |\nfilms"))
    made.add_trial(trial_of(0.3, 0.1, TrialState.PRUNED))
    made.ask(fixed_distributions=dict(search.space.distributions))
    return made


def test_the_report_has_every_trial_and_names_the_best(search: Search, study: optuna.Study) -> None:
    content = write_report(search, study)
    assert json.loads((search.folder / "report.json").read_text()) == content
    assert content["counts"] == {"complete": 20, "pruned": 1, "failed": 1, "interrupted": 1}
    values = [trial.value for trial in study.trials[:20]]
    best = content["best"]
    assert (best["value"], best["number"], best["best_epoch"]) == (max(values), values.index(max(values)), 1)
    assert content["fixed"] == {"seed_everything": 3}


def test_what_decides_the_value_matters_most(search: Search, study: optuna.Study) -> None:
    importance = write_report(search, study)["importance"]
    assert set(importance) == {RATE, WIDTHS}
    assert max(importance, key=lambda name: importance[name]) == RATE
    assert f"| `{RATE}` | {importance[RATE]:.2f} |" in (search.folder / "report.md").read_text()


def test_the_page_shows_the_ten_best_in_order_and_each_failure(search: Search, study: optuna.Study) -> None:
    write_report(search, study)
    text = (search.folder / "report.md").read_text()
    assert text.startswith("# Search in search\n\n23 of 30 trials: 20 complete, 1 pruned, 1 failed, 1 interrupted.")
    rows = [line.split(" | ") for line in text.splitlines() if "| [8] |" in line or "| [16] |" in line]
    assert len(rows) == 10
    shown = [float(row[1]) for row in rows]
    assert shown == sorted(shown, reverse=True)
    assert "| 20 | no \\| films |" in text


def test_the_best_config_is_for_a_new_run(search: Search, study: optuna.Study) -> None:
    best = write_report(search, study)["best"]
    config = yaml.safe_load((search.folder / "best.yaml").read_text())
    assert config["model"]["rate"] == best["value"]
    assert config["trainer"]["default_root_dir"] == str(search.folder / "best")
    assert (config["trainer"]["devices"], config["ckpt_path"]) == ("auto", None)


def test_few_trials_tell_nothing_of_importance(search: Search) -> None:
    study = open_study(search.folder / "study.db", search.space)
    assert write_report(search, study)["importance"] is None
    assert not (search.folder / "best.yaml").exists()


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_draws_are_a_function_of_seed_and_number(method: str) -> None:
    space = parse_search_space({"parameters": {RATE: {"min": 0.0, "max": 1.0}}, "method": method})

    def drawn(seed: int, interrupted: bool) -> list[float]:
        study, values = optuna.create_study(direction="maximize"), []
        for number in range(14):
            if interrupted and number == 12:  # what a new process knows are the trials
                again = optuna.create_study(direction="maximize")
                again.add_trials(study.trials)
                study = again
            study.sampler = sampler(space, seed, number)
            trial = study.ask(fixed_distributions=dict(space.distributions))
            values.append(trial.params[RATE])
            study.tell(trial, trial.params[RATE])
        return values

    assert drawn(0, interrupted=True) == drawn(0, interrupted=False)
    assert drawn(1, interrupted=False) != drawn(0, interrupted=False)
    assert len(set(drawn(0, interrupted=False))) == 14
