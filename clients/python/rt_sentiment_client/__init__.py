"""A client of rt-sentiment, with retries and deadlines: `Client`, and `AsyncClient` for asyncio."""

from .async_client import AsyncClient
from .client import Client
from .errors import (
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Overloaded,
    SentimentError,
    ServerError,
    TextTooLong,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    UntrustedServer,
)
from .types import (
    Agreement,
    ExplainedPrediction,
    Info,
    Job,
    JobRow,
    Limits,
    Prediction,
    Progress,
    ServedModel,
    ServedVersion,
    SubmittedJob,
    WordWeight,
)
from .version import __version__

__all__ = [
    "Agreement",
    "AsyncClient",
    "Client",
    "DeadlineExceeded",
    "ExplainedPrediction",
    "Info",
    "InvalidRequest",
    "InvalidText",
    "Job",
    "JobRow",
    "Limits",
    "Overloaded",
    "Prediction",
    "Progress",
    "SentimentError",
    "ServedModel",
    "ServedVersion",
    "ServerError",
    "SubmittedJob",
    "TextTooLong",
    "Unauthorized",
    "Unavailable",
    "UnexpectedResponse",
    "UntrustedServer",
    "WordWeight",
    "__version__",
]
