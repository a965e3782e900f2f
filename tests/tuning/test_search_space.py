"""What a search may try is read from a sweep config; whatever can't be tried is named before a trial begins."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pneumonia.errors import ConfigError
from pneumonia.tuning.options import flattened, resolved_config
from pneumonia.tuning.search_space import SearchSpace, parse_search_space, read_search_space

CONFIGS = Path(__file__).parents[2] / "configs"


def space_of(**parameters: Any) -> SearchSpace:
    return parse_search_space({"parameters": {key.replace("__", "."): value for key, value in parameters.items()}})


@pytest.mark.slow
def test_the_sweep_of_the_project_can_be_searched_and_holds_the_config_that_it_varies() -> None:
    space = read_search_space(CONFIGS / "sweep.yaml")
    assert isinstance(space.distributions["model.learning_rate"], FloatDistribution)
    assert (space.method, space.min_epochs, space.reduction) == ("bayes", 8, 2)
    config = resolved_config([f"--config={CONFIGS / 'cnn.yaml'}"])
    own = space.of_config(flattened(config))
    assert own is not None
    assert own["model.learning_rate"] == 0.002
    for parameters in (own, *space.corners()):
        tried = flattened(resolved_config([f"--config={CONFIGS / 'cnn.yaml'}", *space.options(parameters)]))
        assert {key: tried[key] for key in parameters} == parameters


@pytest.mark.parametrize(
    ("choice", "distribution"),
    [
        ({"values": [8, 16]}, CategoricalDistribution([8, 16])),
        ({"values": [None, [8, 16], "a"]}, CategoricalDistribution([None, "[8, 16]", "a"])),
        ({"min": 1, "max": 4}, IntDistribution(1, 4)),
        ({"min": 1, "max": 4.0}, FloatDistribution(1, 4)),
        ({"distribution": "uniform", "min": 0, "max": 1}, FloatDistribution(0, 1)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, FloatDistribution(0, 1, step=0.25)),
        ({"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}, FloatDistribution(0.001, 0.1, log=True)),
    ],
)
def test_a_choice_is_what_a_sweep_of_wandb_means_by_it(choice: dict[str, Any], distribution: Any) -> None:
    assert space_of(key=choice).distributions == {"key": distribution}


def test_options_carry_values_of_every_kind() -> None:
    space = space_of(a={"values": [None, [8, 16]]}, b={"min": 0.0, "max": 1.0}, c={"value": [1, 2]}, d={"value": True})
    assert space.options({"a": "[8, 16]", "b": 0.5}) == ["--c=[1, 2]", "--d=true", "--a=[8, 16]", "--b=0.5"]
    assert space.options({"a": None, "b": 1e-7})[2:] == ["--a=null", "--b=1e-07"]


def test_corners_have_every_value_and_both_ends() -> None:
    space = space_of(a={"values": [1, 2, 3]}, b={"min": 0.0, "max": 1.0})
    assert space.corners() == [{"a": 1, "b": 0.0}, {"a": 2, "b": 1.0}, {"a": 3, "b": 1.0}]


def test_a_config_outside_the_space_is_none_of_its_points() -> None:
    space = space_of(a={"values": [8, [1, 2]]}, b={"min": 0.0, "max": 1.0})
    assert space.of_config({"a": [1, 2], "b": 0.5}) == {"a": "[1, 2]", "b": 0.5}
    for outside in ({"a": 9, "b": 0.5}, {"a": 8, "b": 2.0}, {"a": 8, "b": None}, {"a": 8, "b": True}, {}):
        assert space.of_config(outside) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "it has no `parameters`"),
        ({"parameters": []}, "it has no `parameters`"),
        ({"parameters": {"a": {"value": 1}}}, "every parameter has one value"),
        ({"parameters": {"a": 1}}, "a is 1; give `values`, or `min` and `max`, or one `value`"),
        ({"parameters": {"a": {"values": []}}}, r"a: values is \[\]; give a list"),
        ({"parameters": {"a": {"min": 1}}}, r"a: a distribution uniform is given by min, max, not \['min'\]"),
        ({"parameters": {"a": {"min": 2, "max": 1}}}, "a: min is 2 and max is 1; min has to be less"),
        ({"parameters": {"a": {"min": "1e-3", "max": 1}}}, "YAML reads 1e-3 as text: write 0.001"),
        ({"parameters": {"a": {"min": 0.1, "max": float("inf")}}}, "max is inf; give a number"),
        ({"parameters": {"a": {"distribution": "normal", "mu": 0, "sigma": 1}}}, "'normal'; `pneumonia tune` knows"),
        (
            {"parameters": {"a": {"distribution": "int_uniform", "min": 0.5, "max": 2}}},
            "of whole numbers are 0.5 and 2",
        ),
        ({"parameters": {"a": {"distribution": "log_uniform_values", "min": 0, "max": 2}}}, "a: .*low"),
        ({"parameters": {"data.split_seed": {"values": [1, 2]}}}, "data.split_seed decides which films validate"),
        ({"parameters": {"ckpt_path": {"values": ["a", "b"]}}}, "ckpt_path is set for each trial; leave it out"),
        ({"parameters": {"a": {"values": [1]}}, "metric": {"name": "test/auroc"}}, "The test folder is only ever"),
        ({"parameters": {"a": {"values": [1]}}, "metric": {"name": "val/auroc", "goal": "minimize"}}, "maximised"),
        ({"parameters": {"a": {"values": [1]}}, "method": "grid"}, "method is 'grid'; .* knows bayes and random"),
        ({"parameters": {"a": {"values": [1]}}, "early_terminate": {"type": "hyperband"}}, "with min_iter"),
        (
            {"parameters": {"a": {"values": [1]}}, "early_terminate": {"type": "hyperband", "min_iter": 0}},
            "early_terminate.min_iter is 0; give a whole number of 1 or more",
        ),
    ],
)
def test_what_can_not_be_searched_is_an_error_that_says_so(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=rf"The search space .*space\.yaml: .*{message}"):
        read_search_space(tmp_path / "space.yaml")


def test_a_file_that_is_not_there_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml can't be read"):
        read_search_space(tmp_path / "nowhere.yaml")
    (tmp_path / "space.yaml").write_text("parameters: [")
    with pytest.raises(ConfigError, match=r"space\.yaml is no YAML"):
        read_search_space(tmp_path / "space.yaml")
