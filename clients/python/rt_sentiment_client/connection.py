"""Where the server is and how to connect to it: what both clients share, and what errors of httpx mean."""

import base64
import os
import re
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .errors import DeadlineExceeded, SentimentError, Unavailable, UnexpectedResponse, UntrustedServer
from .messages import Message
from .retry import Deadline, RetryPolicy, check_timeout_s
from .version import __version__

URL_VARIABLE = "RT_SENTIMENT_URL"
API_KEY_VARIABLE = "RT_SENTIMENT_API_KEY"

INFO_TIMEOUT_S = 2.0  # predict_many works without the server's limits, too

CONNECT_TIMEOUT_S = 5.0
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ !-~]*[!-~])?")
_DEFAULT_URL = "http://127.0.0.1:8000"
_MAX_REQUEST_ID_CHARS = 100  # the server takes 128; predict_many adds an index


@dataclass(frozen=True, slots=True)
class Connection:
    """The settings of a client. `base_url` has no slash at its end, and no password."""

    base_url: str
    headers: Mapping[str, str]
    timeout_s: float
    policy: RetryPolicy
    max_connections: int
    ssl_context: ssl.SSLContext

    @classmethod
    def of(
        cls,
        *,
        base_url: str | None,
        api_key: str | None,
        timeout_s: float,
        attempt_timeout_s: float | None,
        max_attempts: int | None,
        max_connections: int,
        headers: Mapping[str, str] | None,
        ssl_context: ssl.SSLContext | None,
    ) -> "Connection":
        """Check the arguments of a client. Raises `ValueError`."""
        try:
            url = httpx.URL(base_url or os.environ.get(URL_VARIABLE) or _DEFAULT_URL)
        except httpx.InvalidURL as error:
            raise ValueError(f"base_url is not valid: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
            raise ValueError("base_url must be like https://example.com/path, without a query")
        for name, value in (headers or {}).items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError("headers must have valid names, and values of visible ASCII characters and spaces")
        all_headers = {"user-agent": f"rt-sentiment-client/{__version__}"}
        if url.userinfo:
            credentials = f"{url.username}:{url.password}".encode()
            all_headers["authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
        if key := api_key or os.environ.get(API_KEY_VARIABLE):
            if not _is_visible_ascii(key):
                raise ValueError("the API key must consist of visible ASCII characters")
            all_headers["x-api-key"] = key
        if attempt_timeout_s is not None:
            check_timeout_s("attempt_timeout_s", attempt_timeout_s)
        if max_attempts is not None and max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        return cls(
            base_url=str(url.copy_with(userinfo=b"")).rstrip("/"),
            headers=all_headers | {name.lower(): value for name, value in (headers or {}).items()},
            timeout_s=check_timeout_s("timeout_s", timeout_s),
            policy=RetryPolicy(attempt_timeout_s, max_attempts),
            max_connections=max_connections,
            ssl_context=ssl_context or _default_context(url.scheme),
        )

    def httpx_options(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client` and `httpx.AsyncClient`."""
        limits = httpx.Limits(max_connections=self.max_connections, max_keepalive_connections=self.max_connections)
        return {"headers": dict(self.headers), "limits": limits, "verify": self.ssl_context}

    def timeout_of(self, timeout_s: float | None) -> float:
        """Return the time limit of a call, which is that of the client if the call has none."""
        return self.timeout_s if timeout_s is None else check_timeout_s("timeout_s", timeout_s)

    def deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self.timeout_of(timeout_s))

    def request(self, message: Message, timeout_s: float) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.stream` for an attempt that may take `timeout_s`."""
        return {
            "method": message.method,
            "url": f"{self.base_url}{message.path}",
            "content": message.body or None,
            "headers": message.headers(timeout_s),
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
        }


def request_id_of(request_id: str | None) -> str:
    """Return the id, or a new one. Raises `ValueError` for one that the server would replace."""
    if request_id is None:
        return uuid.uuid4().hex
    if not _is_visible_ascii(request_id) or len(request_id) > _MAX_REQUEST_ID_CHARS:
        raise ValueError(f"request_id must consist of 1 to {_MAX_REQUEST_ID_CHARS} visible ASCII characters")
    return request_id


def translate(error: httpx.HTTPError, request_id: str) -> SentimentError:
    """Return our error for one of httpx's, which mean that there is no complete response."""
    if is_about_certificate(error):
        return UntrustedServer("the server's certificate is not valid", request_id=request_id)
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DeadlineExceeded("there was no response in time", request_id=request_id)
    if isinstance(error, httpx.DecodingError):
        return UnexpectedResponse("the response cannot be read", request_id=request_id)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Unavailable("there is no connection to the server", request_id=request_id)
    return Unavailable("the connection to the server broke", request_id=request_id)


def is_about_certificate(error: BaseException | None) -> bool:
    """Whether the cause of an error is that the server's certificate is not valid."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _default_context(scheme: str) -> ssl.SSLContext:
    if scheme == "https":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading all certificates takes milliseconds


def _is_visible_ascii(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)
