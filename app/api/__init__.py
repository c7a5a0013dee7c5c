"""HTTP: middleware, endpoints, schemas, errors. The only folder that knows FastAPI."""

from .auth import authentication, log_loaded, public_paths, watch_keys
from .bodies import Bodies
from .checks import Check, allowed_hosts, header_limit, one_host
from .context import PEER, PROBES, REFUSED, UPLOAD, new_id
from .cors import Cors
from .docs import install_docs
from .errors import install_errors, problem
from .job_documents import MODELS as JOB_MODELS
from .jobs import JobsApi, jobs_router
from .middleware import Middleware
from .openapi import install_openapi, operation_id, prediction_routes
from .page import install_page
from .predict import PredictBatchEndpoint, PredictEndpoint
from .prefix import ProxyPrefix
from .refusals import Refusals
from .schemas import Limits
from .status import accept_head, report, status_router

__all__ = [
    "JOB_MODELS",
    "PEER",
    "PROBES",
    "REFUSED",
    "UPLOAD",
    "Bodies",
    "Check",
    "Cors",
    "JobsApi",
    "Limits",
    "Middleware",
    "PredictBatchEndpoint",
    "PredictEndpoint",
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
    "jobs_router",
    "log_loaded",
    "new_id",
    "one_host",
    "operation_id",
    "prediction_routes",
    "problem",
    "public_paths",
    "report",
    "status_router",
    "watch_keys",
]
