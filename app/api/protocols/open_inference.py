"""The Open Inference Protocol, version 2, below `/v2`: what clients of KServe and Triton send and read over HTTP."""

import sys
from collections.abc import Sequence

from fastapi import APIRouter
from starlette.types import Receive, Send

from ...access import RateLimit
from ...errors import MalformedBody, NotReady
from ...serving import Lifecycle, Query, Version
from ...types import Text
from ..auth import caller_of
from ..bodies import Bodies, Body
from ..context import Header, RequestContext, sticky_id
from ..endpoint import Endpoint, send_answer
from ..json_body import JsonReader
from ..openapi import STATUSES, documented, problems
from ..parser import MAX_OTHER_BYTES
from ..request import Headers, check_length, content_encoding, timeout_ms
from ..schemas import Limits
from .compression import ENCODINGS, accepted_encoding, compress, decompressed
from .messages import InferRequest, InferResponse, count_of, form_of, location_of, texts_of, validate
from .metadata import find_model, find_version, metadata_router, served_name
from .outputs import check_outputs, render
from .protocol import PlainError, Protocol
from .repository import RepositoryIndexRequest, add_repository_index
from .tensors import TensorParser

_JSON_LENGTH = b"inference-header-content-length"


class InferEndpoint(Endpoint):
    """Predicts the texts of a tensor."""

    routes = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")

    def __init__(self, lifecycle: Lifecycle, limits: Limits, bodies: Bodies, rate: RateLimit | None = None) -> None:
        super().__init__(lifecycle, limits, bodies, rate)
        self._reader = JsonReader(
            bodies,
            limits.max_body_bytes,
            form_of(limits),
            InferRequest,
            validate,
            lambda request: request.text.data or (),
        )

    async def _respond(self, context: RequestContext, body: Body, receive: Receive, send: Send) -> None:
        _, _, _, name, *rest = context.path.removesuffix("/infer").split("/")
        self._version(name, rest, context)  # before the body is read
        check_length(context.headers, self._limits.max_body_bytes)
        request, texts = await self._read(context.headers, body, receive)
        check_outputs(request)
        query = Query(
            texts,
            timeout_ms=self._timeout_ms(context.headers, request),
            caller=caller_of(context),
            may_be_shallow=False,  # the protocol could not say so
            location_of=location_of,
        )
        version = self._version(name, rest, context)
        answer = await self._answer_with(version, query, len(texts), context, receive)
        self._remember(context, answer.results)
        content, json_bytes = render(request, name, served_name(_version_of(version)), answer.predictions)
        headers: list[Header] = [(b"content-type", b"application/json"), (b"vary", b"accept-encoding")]
        if json_bytes < len(content):
            headers[0] = (b"content-type", b"application/octet-stream")
            headers.append((_JSON_LENGTH, b"%d" % json_bytes))
        accepted = context.headers.get(b"accept-encoding")
        if accepted and (encoding := accepted_encoding(accepted)):
            content = compress(content, encoding)
            headers.append((b"content-encoding", encoding.encode()))
        await send_answer(send, content, answer, headers)

    def _version(self, name: str, rest: Sequence[str], context: RequestContext) -> Version:
        """Return what answers: the version in the path, even if callers do not get it, or that for the caller."""
        model = find_model(self._lifecycle, name)
        if not rest:
            return self._lifecycle.serving(model.name, sticky_id(context))
        version = find_version(self._lifecycle, name, rest[-1])
        self._lifecycle.check(model.name)
        if version.state != "ready":
            raise NotReady(version.public_reason)
        return version

    async def _read(self, headers: Headers, body: Body, receive: Receive) -> tuple[InferRequest, Sequence[Text]]:
        """Read and validate a body. The content type does not matter, as in other servers of this protocol."""
        json_bytes = _json_bytes(headers)
        max_bytes = self._limits.max_body_bytes
        if encoding := content_encoding(headers):
            receive = decompressed(receive, encoding, max_bytes)
        if json_bytes is None:
            request = await self._reader.read(body, receive)
            count = count_of(request.text, self._limits)
            if request.text.is_binary:
                raise MalformedBody("binary_data_size needs the header Inference-Header-Content-Length")
            return request, texts_of(request.text.data or (), count)
        parser = await body.read(receive, max_bytes, lambda: TensorParser(json_bytes, self._limits))
        if isinstance(parser, bytes):
            content, parser = parser, TensorParser(json_bytes, self._limits)
            parser.feed(content, is_last=True)
        assert parser.request is not None
        text = parser.request.text
        texts = parser.texts if text.is_binary else texts_of(text.data or (), count_of(text, self._limits))
        body.resize(sum(map(sys.getsizeof, texts)))
        return parser.request, texts

    def _timeout_ms(self, headers: Headers, request: InferRequest) -> float:
        limit_ms = timeout_ms(headers, self._limits.request_timeout_ms)
        stated_us = request.parameters.timeout if request.parameters else None
        # Python cannot convert integers of any size to a number of milliseconds.
        return limit_ms if not stated_us or stated_us >= limit_ms * 1000 else stated_us / 1000


def _version_of(version: Version) -> str:
    return version.info.model_version if version.info else ""


def _json_bytes(headers: Headers) -> int | None:
    """Return the length of the JSON in a body with tensors behind it; None if the body is JSON."""
    stated = headers.get(_JSON_LENGTH)
    if stated is None or (stated == headers.get(b"content-length") and not content_encoding(headers)):
        return None
    stated = stated.strip()
    if not stated.isdigit() or not stated.strip(b"0"):
        raise MalformedBody("Inference-Header-Content-Length must be a whole number, 1 or more")
    if len(stated.lstrip(b"0")) > 18 or int(stated) > MAX_OTHER_BYTES:
        raise MalformedBody(f"Inference-Header-Content-Length may be at most {MAX_OTHER_BYTES}")
    return int(stated)


_REQUEST = {
    "inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["An instant classic, if you ask me."]}]
}
_RESPONSE = {
    "model_name": "sentiment-en",
    "model_version": "0.1.0",
    "outputs": [
        {"name": "LABEL", "datatype": "BYTES", "shape": [1], "data": ["positive"]},
        {"name": "SCORES", "datatype": "FP32", "shape": [1, 3], "data": [0.002, 0.005, 0.993]},
    ],
}


def _router(lifecycle: Lifecycle, bodies: Bodies) -> APIRouter:
    """Return the routes for information, and routes for predictions that only document."""
    router = metadata_router(lifecycle)
    add_repository_index(router, lifecycle, bodies)
    errors = problems(*STATUSES, 404, loc=location_of(0), plain=True)
    errors[415]["description"] = "The body is compressed in another way than gzip or deflate."
    errors[415]["content"]["application/json"]["example"] = {"error": ENCODINGS}
    description = documented(
        InferRequest, InferResponse, errors, {"text": {"request": _REQUEST, "response": _RESPONSE}}, tag="protocols"
    )
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    description["responses"][200]["content"] |= binary

    @router.post("/v2/models/{name}/infer", **description)
    async def v2_infer(name: str) -> None:
        """Predict texts.

        With the header `Inference-Header-Content-Length`, the body is so many bytes of JSON and then the texts, as the
        binary extension of the protocol says. The same is true of the response. Bodies may be compressed with gzip or
        deflate, and the response is if `Accept-Encoding` says so. The content type does not matter.
        """
        raise NotImplementedError

    @router.post("/v2/models/{name}/versions/{version}/infer", **description)
    async def v2_infer_version(name: str, version: str) -> None:
        """Predict texts with a version of the model."""
        raise NotImplementedError

    return router


def _owns(_method: str, path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


OPEN_INFERENCE = Protocol(InferEndpoint, _router, (InferRequest, RepositoryIndexRequest, PlainError), _owns)
