"""HTTP: middleware, endpoints, schemas, errors. The only folder that knows FastAPI."""

from .auth import authentication, is_public, log_loaded, watch_keys
from .bodies import Bodies
from .checks import Check, allowed_hosts, header_limit, one_host
from .context import BROKEN, BUSY, PEER, PROBES, REFUSED, UPLOAD, new_id
from .cors import Cors
from .docs import install_docs
from .document import install_openapi, operation_id
from .endpoint import Endpoint
from .errors import install_errors, problem
from .job_documents import MODELS as JOB_MODELS
from .jobs import JobsApi, jobs_router
from .middleware import Middleware
from .openapi import prediction_routes
from .page import install_page
from .predict import PredictBatchEndpoint, PredictEndpoint
from .prefix import ProxyPrefix
from .protocols import HUGGING_FACE, OPEN_INFERENCE
from .refusals import Refusals
from .schemas import Limits
from .status import accept_head, report, status_router
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
    "JobsApi",
    "Limits",
    "Middleware",
    "PredictBatchEndpoint",
    "PredictEndpoint",
    "PredictStreamEndpoint",
    "ProxyPrefix",
    "Refusals",
    "accept_head",
    "allowed_hosts",
    "authentication",
    "header_limit",
    "install_docs",
    "install_errors",
    "install_openapi",
    "install_page",
    "is_public",
    "jobs_router",
    "log_loaded",
    "new_id",
    "one_host",
    "operation_id",
    "prediction_routes",
    "problem",
    "report",
    "status_router",
    "stream_routes",
    "watch_keys",
]
