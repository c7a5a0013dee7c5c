"""The model that the settings of a command name."""

from .. import logs
from ..config import Settings
from ..inference import Model
from ..models import open_default
from ..tables import ModelScorer
from ..types import LongText


def load_model(settings: Settings, processes: int = 1) -> Model:
    """Load the model that callers of a server with these settings get, in one of so many processes.

    Raises what `app.inference.load_model` raises, and `ModelsFileError`.
    """
    return open_default(settings, processes)


def load_scorer(settings: Settings, long_text: LongText) -> ModelScorer:
    """Load the model for a command that reads a file, and log for people."""
    logs.configure("console", "warning")
    return ModelScorer(load_model(settings), long_text)
