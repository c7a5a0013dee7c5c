"""HTTP: middleware, endpoints, schemas, errors. The only folder that knows FastAPI."""

from .auth import authentication, log_loaded, public_paths, watch_keys
from .checks import Check, allowed_hosts, header_limit, one_host
from .context import QUOTA_HEADERS, REFUSED, new_id
from .errors import install_errors, problem
from .middleware import Middleware
from .openapi import install_openapi, operation_id, prediction_routes
from .predict import PredictBatchEndpoint, PredictEndpoint
from .schemas import Limits
from .status import report, status_router

__all__ = [
    "QUOTA_HEADERS",
    "REFUSED",
    "Check",
    "Limits",
    "Middleware",
    "PredictBatchEndpoint",
    "PredictEndpoint",
    "allowed_hosts",
    "authentication",
    "header_limit",
    "install_errors",
    "install_openapi",
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
