"""Scores texts with a server, over its list endpoint.

With `http.client`: which HTTP client the serving install has depends on the version of huggingface-hub.
"""

import contextlib
import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import SplitResult, urlsplit

import click

from ...tables import ENOUGH_TEXTS, Result, Scorer, Window
from ..exits import WRONG_USAGE, Failure
from .answers import detail_of, json_of, result_of, shallow

_TIMEOUT_S = 120.0
_MAX_PAUSE_S = 30.0
_SILENT_S = 2.0  # of waiting, before people are told
_BYTES_PER_CHAR = 12  # of JSON, at most


class Server:
    """A connection per thread to a server, with retries."""

    def __init__(self, url: str, api_key: str | None = None, *, give_up_s: float = 300.0) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if not _is_address(parts):
            raise Failure(f"{url}: expected http://host[:port] or https://host[:port]", WRONG_USAGE)
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise Failure("the API key has characters that no key has (--api-key)", WRONG_USAGE)
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._host, self._is_tls = parts.netloc.rpartition("@")[2], parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._give_up_s = give_up_s
        self._has_said_why = False
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._stopped = Event()

    def close(self) -> None:
        """Close all connections. Calls that are waiting raise `Failure`."""
        self._stopped.set()
        for connection in self._connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):  # the other side has closed it
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def call(
        self, method: str, path: str, body: object = None, *, objection: Callable[[Any], str] = lambda _: ""
    ) -> tuple[int, Any]:
        """Return the status and the JSON of a response.

        Overload, a server that restarts and a broken connection are tried again, as late as the server asks, for
        `give_up_s` at most; then raises `Failure`. So it does for a key that is missing or wrong. A response with the
        status 200 to which there is an `objection` is like overload.
        """
        content = None if body is None else json.dumps(body).encode()
        started_s = time.monotonic()
        attempt = 0
        while True:
            try:
                status, retry_after, answer = self._once(method, path, content)
                why = objection(answer) if status == 200 else f"{status} {detail_of(answer)}"
                status = 429 if status == 200 and why else status
            except (OSError, http.client.HTTPException) as error:
                self._connection().close()  # the next request opens it again
                status, retry_after, answer, why = 0, None, None, str(error) or type(error).__name__
            if status in (401, 403):
                raise Failure(f"{self.url}: {detail_of(answer)} (--api-key)", WRONG_USAGE)
            if status not in (0, 429, 502, 503):
                return status, answer
            # Twice as long each time, with chance, so that several clients do not come back together.
            pause_s = retry_after or min(_MAX_PAUSE_S, 0.1 * 2**attempt) * random.uniform(0.5, 1)
            waited_s = time.monotonic() - started_s
            if waited_s + pause_s <= self._give_up_s and waited_s + pause_s > _SILENT_S:
                self._say_why(why)
            if waited_s + pause_s > self._give_up_s or self._stopped.wait(pause_s):
                raise Failure(f"{self.url}: {why}")
            attempt += 1

    def _say_why(self, why: str) -> None:
        """Tell people, once, why nothing happens."""
        if not self._has_said_why:
            self._has_said_why = True
            click.echo(f"rt-sentiment: {self.url}: {why}; trying again for up to {self._give_up_s:.0f} s", err=True)

    @contextmanager
    def stream(
        self, method: str, path: str, body: Iterable[bytes] = (), headers: Mapping[str, str] | None = None
    ) -> "Iterator[Response]":
        """Send a request over a connection of its own, and yield the response to read it in pieces.

        Raises `Failure` if the server cannot be reached, or refuses the key.
        """
        connection = self._connect()
        try:
            with _explained(self.url):
                connection.request(method, self._path + path, body or None, self._headers | dict(headers or {}))
                response = Response(connection.getresponse(), self.url)
            if response.status in (401, 403):
                raise Failure(f"{self.url}: {detail_of(json_of(response.read()))} (--api-key)", WRONG_USAGE)
            yield response
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            return http.client.HTTPSConnection(self._host, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        return http.client.HTTPConnection(self._host, timeout=_TIMEOUT_S)

    def _once(self, method: str, path: str, content: bytes | None) -> tuple[int, float | None, Any]:
        connection = self._connection()
        connection.request(method, self._path + path, content, self._headers)
        response = connection.getresponse()
        answer = json_of(response.read())
        after = response.getheader("Retry-After", "")
        return response.status, float(after) if after.isdecimal() else None, answer

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._connections.append(connection)
        return connection


class Response:
    """A response. What breaks while it is read is an error of the server, unlike what breaks where it is written to."""

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self.status = response.status
        self.getheader = response.getheader
        self._response = response
        self._url = url

    def read(self, size: int | None = None) -> bytes:
        with _explained(self._url):
            return self._response.read(size)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Raise `Failure` for a connection that breaks."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{url}: {error or type(error).__name__}") from None


class ServerScorer(Scorer):
    """A running server: `connections` lists at a time, to the model of a name or the default one."""

    def __init__(self, server: Server, long_text: str, connections: int, model: str | None = None) -> None:
        self._server = server
        self._options = {"long_text": long_text} | ({"model": model} if model else {})
        self.parallel = connections
        try:
            self._read_info(*server.call("GET", "/info"))
            if model:
                self._read_model(model)
        except Failure:
            server.close()
            raise

    def _read_info(self, status: int, info: Any) -> None:
        server = self._server
        if status != 200 or not isinstance(info, dict) or not {"model", "labels", "limits"} <= info.keys():
            raise Failure(f"{server.url}: no rt-sentiment server answers there ({status})")
        limits = info["limits"]
        self.labels = info["labels"]
        self.window = Window(
            rows=min(256, limits["max_batch_texts"]), chars=max(1, limits["max_body_bytes"] // _BYTES_PER_CHAR)
        )
        self.description = {
            "model": f"{info['model']} {info['model_version']} {info['checksum']}",
            "backend": f"{info['backend']} {info['precision']}",
            "abstain_below": info.get("abstain_below", 0.0),
            "exits": [*info["exits"], info["manifest"]] if info.get("exits") else [],
        }

    def _read_model(self, name: str) -> None:
        """Read what `/info` says of the default model alone."""
        models = {model["name"]: model for model in fetch_models(self._server)["models"]}
        if name not in models:
            raise Failure(f"{self._server.url}: it has no model {name}; it has {', '.join(models)}", WRONG_USAGE)
        serving = [version for version in models[name]["versions"] if version["share"]]
        if not serving:
            raise Failure(f"{self._server.url}: no version of {name} is ready")
        self.labels = list(dict.fromkeys(label for version in serving for label in version["labels"]))
        self.description |= {
            "model": ", ".join(f"{version['version']} {version['checksum']}" for version in serving),
            "backend": ", ".join(dict.fromkeys(f"{version['backend']} {version['precision']}" for version in serving)),
            "exits": [version["manifest"] for version in serving],  # it says where texts leave a model
        }

    def score(self, texts: Sequence[str]) -> list[Result]:
        body = {"texts": [*map(_without_surrogates, texts)], "partial": True} | self._options
        status, answer = self._server.call("POST", "/predict/batch", body, objection=shallow)
        if status == 200:
            failed = [each for each in answer["predictions"] if each.get("error", {}).get("status", 0) >= 500]
            if len(texts) >= ENOUGH_TEXTS and len(failed) == len(texts):
                raise Failure(f"{self._server.url}: the model fails at every text: {result_of(failed[0])}")
            return [result_of(each) for each in answer["predictions"]]
        # Too large, or too slow for the server's time limit; or not valid, with a server that limits texts.
        if status in (413, 422, 500, 504) and len(texts) > 1:
            middle = len(texts) // 2
            return [*self.score(texts[:middle]), *self.score(texts[middle:])]
        if status in (413, 422, 500, 504):
            return [detail_of(answer)]
        raise Failure(f"{self._server.url}: {status} {detail_of(answer)}")

    def cancel(self) -> None:
        self._server.close()


def fetch_models(server: Server) -> dict[str, Any]:
    """Return the answer of `GET /models`. Raises `Failure` if the server has no such list."""
    status, answer = server.call("GET", "/models")
    if status == 404:
        raise Failure(f"{server.url}: it has no list of models; is it an older version?")
    if status >= 400 and isinstance(answer, dict):
        raise Failure(f"{server.url}: {detail_of(answer)}")
    if status != 200 or not isinstance(answer, dict) or "models" not in answer:
        raise Failure(f"{server.url}: no rt-sentiment server answers there ({status})")
    return answer


def _without_surrogates(text: str) -> str:
    """JSON cannot have them. They are invisible, so the model does not see them in any case."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _is_address(parts: SplitResult) -> bool:
    """Whether a connection to there can be tried."""
    try:
        is_valid = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a port that is not a number, or a name that cannot be one
        return False
    return is_valid and parts.scheme in ("http", "https") and parts.path.isascii() and not re.search(r"\s", parts.path)
