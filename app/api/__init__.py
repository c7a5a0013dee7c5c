"""HTTP: middleware, endpoints, schemas, errors. The only folder that knows FastAPI."""

from .auth import authentication, log_loaded, watch_keys
from .checks import Check, allowed_hosts, header_limit, one_host
from .context import PEER, QUOTA_HEADERS, REFUSED, new_id
from .docs import install_docs
from .errors import install_errors, problem
from .middleware import Middleware
from .openapi import install_openapi, prediction_routes
from .predict import PredictBatchEndpoint, PredictEndpoint
from .prefix import ProxyPrefix
from .schemas import Limits
from .status import report, status_router

__all__ = [
    "PEER",
    "QUOTA_HEADERS",
    "REFUSED",
    "Check",
    "Limits",
    "Middleware",
    "PredictBatchEndpoint",
    "PredictEndpoint",
    "ProxyPrefix",
    "allowed_hosts",
    "authentication",
    "header_limit",
    "install_docs",
    "install_errors",
    "install_openapi",
    "log_loaded",
    "new_id",
    "one_host",
    "prediction_routes",
    "problem",
    "report",
    "status_router",
    "watch_keys",
]
