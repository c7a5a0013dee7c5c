"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import SentimentError
    from .inference import Artifact, Backend, Model, load_model
    from .types import Batch, Prediction

__version__ = "0.1.0"
__all__ = [
    "Artifact",
    "Backend",
    "Batch",
    "Model",
    "Prediction",
    "SentimentError",
    "__version__",
    "load_model",
]

_SOURCES = {
    "Artifact": ".inference",
    "Backend": ".inference",
    "Batch": ".types",
    "Model": ".inference",
    "Prediction": ".types",
    "SentimentError": ".errors",
    "load_model": ".inference",
}


if not TYPE_CHECKING:  # to a type checker, every name would exist

    def __getattr__(name: str) -> Any:
        # Imported at first use, because `rt-sentiment --help` needs no tokenizer.
        if name in _SOURCES:
            return getattr(importlib.import_module(_SOURCES[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
