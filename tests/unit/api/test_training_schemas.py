"""The recipe of a training job, which the client chooses."""

import json

import pytest
from pydantic import ValidationError

from app.api.training_schemas import TrainingJob, TrainingUpload

SOURCE = {"name": "mine", "source": {"url": "file:///a.csv"}}


@pytest.mark.parametrize("number", ["1" + "0" * 40, "-1e300", "1e999", "NaN", "-Infinity"])
def test_a_number_that_json_does_not_have_is_no_setting(number: str) -> None:
    recipe = f'{{"seed": {number}}}'
    with pytest.raises(ValidationError, match="expected settings and their values"):
        TrainingJob.model_validate_json(json.dumps(SOURCE)[:-1] + f', "recipe": {recipe}}}')
    with pytest.raises(ValidationError, match="expected settings and their values"):
        TrainingUpload.model_validate_json(json.dumps({"name": "mine", "recipe": recipe}))


def test_settings_have_numbers_and_words() -> None:
    recipe = {"seed": 2**53, "learning_rate": 1e-4, "class_weights": True, "keep": "last"}
    assert TrainingJob.model_validate(SOURCE | {"recipe": recipe}).request().recipe == recipe
