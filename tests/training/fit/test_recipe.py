from pathlib import Path

import pytest

from training.fit.recipe import Recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[3] / "training" / "recipes").glob("*.toml"))


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("epochs = 5\nseed = 11\n[weights]\nsst2_train = 0.5\n")
    recipe = read_recipe(file, epochs=3, batch_size=None)
    assert recipe == Recipe(epochs=3, seed=11, weights={"sst2_train": 0.5})
    assert recipe.weight("sst2_train") == 0.5
    assert recipe.weight("another") == 1.0


def test_an_unknown_setting_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("epoch = 5\n")
    with pytest.raises(ValueError, match=r"recipe\.toml: epoch: unknown setting"):
        read_recipe(file)


@pytest.mark.parametrize(
    "setting", ["epochs = 0", "epochs = '2 or 3'", "learning_rate = -1e-5", "average = 1.5", "weights = {a = -1}"]
)
def test_an_invalid_value_is_rejected_with_its_setting(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(setting)
    with pytest.raises(ValueError, match=rf"recipe\.toml: {setting.split(maxsplit=1)[0]}[.a]*: Input should be"):
        read_recipe(file)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_our_recipes_are_valid_and_leave_out_restricted_data(file: Path) -> None:
    assert read_recipe(file).weight("yelp_reviews_dev") == 0
