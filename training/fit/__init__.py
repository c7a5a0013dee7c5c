"""Fine-tuning: train a checkpoint on labelled text, with the settings of a recipe."""

from training.fit.choice import PRESETS, Choice, choose, facts_of
from training.fit.fine_tune import Interrupted, fine_tune
from training.fit.recipe import Recipe, read_recipe

__all__ = ["PRESETS", "Choice", "Interrupted", "Recipe", "choose", "facts_of", "fine_tune", "read_recipe"]
