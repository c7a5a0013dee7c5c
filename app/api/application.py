"""What answers all but the hot routes: FastAPI, with our errors, documents and page."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from .. import __version__
from .docs import install_docs
from .document import install_openapi, operation_id
from .errors import install_errors
from .page import install_page
from .status import accept_head

_DESCRIPTION = """\
Low-latency text sentiment. `POST /predict` predicts one text, `POST /predict/batch` a list of texts, and
`POST /predict/stream` any number of texts, which it answers while you send them.

Errors are `application/problem+json` (RFC 9457); those of `POST /` and `/v2` have the form of their protocols.
Every response has `X-Request-ID`. Predictions also have `X-Model` (`name@version`), `Server-Timing` (milliseconds) and
`X-Cache`.
"""


def fastapi_app(
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    routers: Sequence[APIRouter],
    *,
    is_public: Callable[[str, str], bool],
    models: Sequence[type[BaseModel]],
    page: bool,
) -> FastAPI:
    """Return an application with these routes. For `is_public` and `models`, see `install_openapi`."""
    app = FastAPI(
        title="rt-sentiment",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # `install_docs` adds it
        generate_unique_id_function=operation_id,
        redirect_slashes=False,  # the target would contain the Host that the client sent
        # FastAPI's own telemetry looks for providers with each request, and its records quote what clients send.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    accept_head(app.router)
    for router in routers:
        app.include_router(router)
    install_errors(app, [app.router, *routers])
    install_openapi(app, is_public=is_public, models=models)
    install_docs(app)
    install_page(app, enabled=page)
    return app
