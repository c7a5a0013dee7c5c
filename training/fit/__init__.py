"""Fine-tuning: train a checkpoint on labelled text, with settings from a recipe or chosen from the data."""

from training.fit.choice import EMBEDDED, ENCODER, PRESETS, Choice, choose, facts_of
from training.fit.judge import figures_by_class
from training.fit.loop import Interrupted
from training.fit.recipe import Recipe, read_recipe
from training.fit.run import FinishedRun
from training.fit.several import fine_tune
from training.fit.start import artifact_of, choose_for, start_directory
from training.fit.train import add_setting_flags, given_settings

__all__ = [
    "EMBEDDED",
    "ENCODER",
    "PRESETS",
    "Choice",
    "FinishedRun",
    "Interrupted",
    "Recipe",
    "add_setting_flags",
    "artifact_of",
    "choose",
    "choose_for",
    "facts_of",
    "figures_by_class",
    "fine_tune",
    "given_settings",
    "read_recipe",
    "start_directory",
]
