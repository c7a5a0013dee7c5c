"""The model that the settings of a command name."""

from .. import logs
from ..config import Settings
from ..inference import Model
from ..inference import load_model as load
from ..tables import ModelScorer
from ..types import LongText


def load_model(settings: Settings, processes: int = 1) -> Model:
    """Load the model in one of so many processes. Raises what `app.inference.load_model` raises."""
    return load(
        settings.model,
        digest=settings.model_digest,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        slots=settings.slots,
        workers=processes,
        abstain_below=settings.abstain_below,
        mock_delay_ms=settings.mock_delay_ms,
        mock_failure_rate=settings.mock_failure_rate,
    )


def load_scorer(settings: Settings, long_text: LongText) -> ModelScorer:
    """Load the model for a command that reads a file, and log for people."""
    logs.configure("console", "warning")
    return ModelScorer(load_model(settings), long_text)
