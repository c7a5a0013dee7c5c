"""Fine-tuning: from a checkpoint, labelled text and a recipe to a better checkpoint."""

from training.fit.recipe import Recipe, read_recipe
from training.fit.train import Interrupted, fine_tune

__all__ = ["Interrupted", "Recipe", "fine_tune", "read_recipe"]
