"""The middleware in front of a hot endpoint and of an app."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.checks import Check
from app.api.middleware import Middleware, Tracer
from app.api.prefix import ProxyPrefix
from tests.support.client import AsgiClient, scope_of

PAGE = "https://page.example"

Events = Callable[[str], list[dict[str, Any]]]  # from the name of a log event to the fields of each


class Recorder:
    """Keeps what the metrics would count."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, int]] = []

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.answers.append((method, path, status))


ENDPOINT, APP = PlainTextResponse("endpoint"), PlainTextResponse("app")


def raises(error: BaseException) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


class Bench:
    def __init__(
        self,
        endpoint: ASGIApp = ENDPOINT,
        app: ASGIApp = APP,
        checks: list[Check] | None = None,
        cors: Callable[[ASGIApp], ASGIApp] | None = None,
        prefix: ProxyPrefix | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.recorder = Recorder()
        self.middleware = Middleware(
            app,
            endpoints={"/predict": endpoint},
            checks=checks or [],
            observer=self.recorder,
            paths={"/predict", "/livez"},
            cors=cors,
            prefix=prefix,
            tracer=tracer,
        )

    async def request(
        self, path: str = "/predict", method: str = "POST", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> AsgiClient:
        client = AsgiClient()
        await self.middleware(scope_of(path, method, headers, **fields), client.receive, client.send)
        return client


def cors(app: ASGIApp) -> ASGIApp:
    return CORSMiddleware(app, allow_origins=[PAGE], allow_methods=["GET", "POST"], allow_headers=["X-API-Key"])
