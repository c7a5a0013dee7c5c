"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import Model, load_model
    from .types import Prediction

__version__ = "0.1.0"
__all__ = ["Model", "Prediction", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # Imported at first use: `rt-sentiment --help` needs no tokenizer.
    if name in {"Model", "load_model"}:
        from . import inference

        return getattr(inference, name)
    if name == "Prediction":
        from .types import Prediction

        return Prediction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
