"""Fine-tuning: train a checkpoint on labelled text, with the settings of a recipe."""

from training.fit.recipe import Recipe, read_recipe
from training.fit.train import Interrupted, fine_tune

__all__ = ["Interrupted", "Recipe", "fine_tune", "read_recipe"]
