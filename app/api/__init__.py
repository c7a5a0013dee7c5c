"""HTTP: middleware, endpoints, schemas, errors. The only folder that knows FastAPI."""

from .application import fastapi_app
from .auth import authentication, is_public, log_loaded, watch_keys
from .bodies import Bodies
from .checks import Check, allowed_hosts, header_limit, one_host
from .context import BROKEN, BUSY, PEER, PROBES, REFUSED, UPLOAD, new_id
from .cors import Cors
from .endpoint import Endpoint
from .errors import problem
from .feedback import FeedbackRequest, feedback_router
from .job_calls import JobsApi
from .job_documents import MODELS as JOB_MODELS
from .jobs import jobs_router
from .middleware import Middleware
from .models import models_router
from .openapi import prediction_routes
from .predict import PredictBatchEndpoint, PredictEndpoint
from .prefix import ProxyPrefix
from .protocols import HUGGING_FACE, OPEN_INFERENCE, Protocol
from .refusals import Refusals
from .schemas import Limits
from .status import report, status_router
from .stream import PredictStreamEndpoint
from .stream_openapi import stream_routes

__all__ = [
    "BROKEN",
    "BUSY",
    "HUGGING_FACE",
    "JOB_MODELS",
    "OPEN_INFERENCE",
    "PEER",
    "PROBES",
    "REFUSED",
    "UPLOAD",
    "Bodies",
    "Check",
    "Cors",
    "Endpoint",
    "FeedbackRequest",
    "JobsApi",
    "Limits",
    "Middleware",
    "PredictBatchEndpoint",
    "PredictEndpoint",
    "PredictStreamEndpoint",
    "Protocol",
    "ProxyPrefix",
    "Refusals",
    "allowed_hosts",
    "authentication",
    "fastapi_app",
    "feedback_router",
    "header_limit",
    "is_public",
    "jobs_router",
    "log_loaded",
    "models_router",
    "new_id",
    "one_host",
    "prediction_routes",
    "problem",
    "report",
    "status_router",
    "stream_routes",
    "watch_keys",
]
