"""`POST /predict/stream`: any number of texts in one request, which are answered while it is being sent."""

import math
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ..access import RateLimit
from ..errors import InvalidInput
from ..serving import Lifecycle
from .bodies import Bodies
from .checks import Check
from .context import context_of, sticky_id
from .exchange import Exchange
from .form import Form
from .intake import LineOptions, Observer, Services
from .invalid import BodyInvalid
from .request import check_media_type, timeout_ms, validate
from .schemas import Limits, Options
from .stream_schemas import StreamLine

_MEDIA_TYPES = (b"application/x-ndjson", b"application/ndjson", b"application/jsonl")
_HEADERS = (
    (b"content-type", _MEDIA_TYPES[0]),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy must pass on each answer at once
)
_MAX_PARAMETERS = 32


class PredictStreamEndpoint:
    """Answers lines in their order, and goes on after one that cannot be served."""

    routes = ("/predict/stream",)

    def __init__(
        self,
        lifecycle: Lifecycle,
        limits: Limits,
        bodies: Bodies,
        rate: RateLimit | None = None,
        *,
        observer: Observer,
        idle_s: float,
        max_wait_ms: float,
        authentication: Check | None = None,
    ) -> None:
        """See `Services` for what the last three are."""
        self._request_timeout_ms = limits.request_timeout_ms
        self._services = Services(
            lifecycle,
            bodies,
            rate,
            observer,
            authentication,
            idle_s,
            max_wait_ms,
            Form(StreamLine.model_fields.keys(), limits.max_text_chars),
            min(limits.max_body_bytes, 12 * limits.max_text_chars + 1024),  # the longest JSON of a text, as in /predict
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["http_version"] == "1.0":
            raise HTTPException(505, "a stream needs HTTP/1.1")
        context = context_of(scope)
        headers = context.headers
        check_media_type(headers, _MEDIA_TYPES)
        limit_ms = timeout_ms(headers, self._request_timeout_ms)
        # Without a limit of its own, the client wants an answer rather than an early error.
        patience_s = limit_ms / 1000 if b"x-request-timeout-ms" in headers else math.inf
        options = LineOptions(parse_options(scope["query_string"]), limit_ms, patience_s)
        lifecycle, observer = self._services.lifecycle, self._services.observer
        version = lifecycle.serving(options.options.model, sticky_id(context))
        context.model = version.info.id if version.info else ""
        lifecycle.in_flight += 1
        observer.stream_changed(1)
        try:
            await Exchange(self._services, scope, options, receive, send).run([*_HEADERS])
        finally:
            lifecycle.in_flight -= 1
            observer.stream_changed(-1)


def parse_options(query: bytes) -> Options:
    """Return the options of `/predict` in a query. Raises `BodyInvalid`, and `InvalidInput` if it asks to explain."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise InvalidInput(f"more than {_MAX_PARAMETERS} parameters", ("query",)) from None
    try:
        options = validate(Options, {name: text if name == "model" else _value(text) for name, text in pairs})
    except BodyInvalid as error:
        error.part = "query"
        raise
    if options.explain:
        raise InvalidInput("a stream has no explanations; /predict and /predict/batch have", ("query", "explain"))
    return options


def _value(text: str) -> object:
    """Return what a parameter says: `2` is a number and `true` a boolean, as in JSON; everything else is a string."""
    try:
        return from_json(text)
    except ValueError:
        return text
