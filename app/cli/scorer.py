"""The model of a command that reads files."""

from .. import logs
from ..config import Settings
from ..inference import load_model
from ..tables import ModelScorer
from ..types import LongText


def load_scorer(settings: Settings, long_text: LongText) -> ModelScorer:
    """Load the model that the settings name."""
    logs.configure("console", "warning")
    model = load_model(
        settings.model,
        digest=settings.model_digest,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        slots=settings.slots,
        abstain_below=settings.abstain_below,
        mock_delay_ms=settings.mock_delay_ms,
        mock_failure_rate=settings.mock_failure_rate,
    )
    return ModelScorer(model, long_text)
