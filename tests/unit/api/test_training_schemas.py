"""The recipe of a training job, which the client chooses."""

import json
from dataclasses import fields

import pytest
from pydantic import ValidationError

from app.api.training_schemas import SETTINGS, TrainingJob, TrainingUpload
from training.fit.recipe import Recipe
from training.fit.train import ONLY_IN_A_FILE

SOURCE = {"name": "mine", "source": {"url": "file:///a.csv"}}


@pytest.mark.parametrize("number", ["1" + "0" * 40, "-1e300", "1e999", "NaN", "-Infinity"])
def test_a_number_that_json_does_not_have_is_no_setting(number: str) -> None:
    recipe = f'{{"seed": {number}}}'
    with pytest.raises(ValidationError, match="seed: expected a number"):
        TrainingJob.model_validate_json(json.dumps(SOURCE)[:-1] + f', "recipe": {recipe}}}')
    with pytest.raises(ValidationError, match="seed: expected a number"):
        TrainingUpload.model_validate_json(json.dumps({"name": "mine", "recipe": recipe}))


def test_settings_have_numbers_and_words() -> None:
    recipe = {"seed": 2**53, "learning_rate": 1e-4, "class_weights": True, "keep": "last"}
    assert TrainingJob.model_validate(SOURCE | {"recipe": recipe}).request().recipe == recipe


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ({"epochs": "a text"}, "epochs: expected a number, true or false"),
        ({"epochs": 1, "keep": ["a text"]}, "keep: expected a number"),
        ({"epoch": 4}, "unknown setting epoch; did you mean epochs"),
        ({"what": 4}, "unknown setting what; expected average, batch_size"),
        ({"a text": 4}, "unknown setting; expected average"),
        (["a text"], "expected settings and their values"),
    ],
)
def test_a_setting_is_named_without_its_value(recipe: object, why: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TrainingJob.model_validate(SOURCE | {"recipe": recipe})
    [error] = raised.value.errors(include_input=False)
    assert error["msg"].startswith(why)
    assert "a text" not in error["msg"]


@pytest.mark.parametrize("name", ["", "a b", "é", "-a", "a\n", "a" * 65])
def test_the_name_of_a_model_is_explained_in_words(name: str) -> None:
    with pytest.raises(ValidationError, match=r"expected letters, digits, \. _ and -"):
        TrainingJob.model_validate(SOURCE | {"name": name})
    with pytest.raises(ValidationError, match=r"expected letters"):
        TrainingJob.model_validate(SOURCE | {"base": name})
    assert TrainingJob.model_validate(SOURCE | {"name": "0.a-b_C"}).name == "0.a-b_C"


def test_a_new_model_has_a_new_name() -> None:
    for name in ("sentiment-en", "encoder"):
        with pytest.raises(ValidationError, match=f"{name} is the name of a model that comes with rt-sentiment"):
            TrainingJob.model_validate(SOURCE | {"name": name})
        assert TrainingJob.model_validate(SOURCE | {"base": name}).base == name


def test_the_settings_are_those_of_a_training() -> None:
    assert {setting.name for setting in fields(Recipe)} - ONLY_IN_A_FILE == SETTINGS
