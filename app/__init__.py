"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import Artifact, Model, load_model
    from .types import Batch, Prediction

__version__ = "0.1.0"
__all__ = ["Artifact", "Batch", "Model", "Prediction", "__version__", "load_model"]

_SOURCES = {
    "Artifact": ".inference",
    "Batch": ".types",
    "Model": ".inference",
    "Prediction": ".types",
    "load_model": ".inference",
}


def __getattr__(name: str) -> Any:
    # Imported at first use, because `rt-sentiment --help` needs no tokenizer.
    if name in _SOURCES:
        return getattr(importlib.import_module(_SOURCES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
