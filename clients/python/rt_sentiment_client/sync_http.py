"""The I/O of `Client`."""

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import httpx

from .connection import INFO_TIMEOUT_S, Connection, request_id_of, translate
from .errors import DeadlineExceeded, SentimentError
from .forms import Form
from .lists import TextList, form
from .many import ManyOptions, Result, deliver, in_each_place, should_split
from .messages import Answer, Message, check, info_message, list_message, read_info, read_predictions
from .retry import Deadline, Recovery
from .transfers import Transfer
from .types import Limits

T = TypeVar("T")

_NEVER = threading.Event()


class SyncHTTP:
    """Sends requests, and blocks until they are answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http = httpx.Client(**connection.httpx_options())
        self._limits: Limits | None = None

    def close(self) -> None:
        self._http.close()

    def send(self, message: Message, deadline: Deadline, abandoned: threading.Event | None = None) -> Answer:
        """Send a request until it succeeds, cannot succeed, or nobody waits for it."""
        policy = self._connection.policy
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(message, policy.attempt_s(deadline, message.request_id))
            except SentimentError as error:
                error.attempts = attempt
                wait_s = policy.wait_s(
                    error,
                    attempt,
                    deadline,
                    can_be_split=message.can_be_split,
                    can_be_repeated=message.can_be_repeated,
                )
                if wait_s is None or (abandoned or _NEVER).wait(wait_s):
                    raise

    def _attempt(self, message: Message, timeout_s: float) -> Answer:
        end = Deadline(timeout_s)
        body = bytearray()
        try:
            with self._http.stream(**self._connection.request(message, timeout_s)) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if end.left_s() <= 0:
                        raise DeadlineExceeded("there was no complete response in time", request_id=message.request_id)
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error
        return check(Answer(response.status_code, response.headers, bytes(body)), message)

    def upload(self, form: Form, message: Message, timeout_s: float) -> Answer:
        """Send a form until it arrives or cannot arrive. `timeout_s` is the longest time in which nothing more does."""
        recovery = Recovery(self._connection.policy, timeout_s)
        while True:
            try:
                return self._upload(form, message, recovery)
            except SentimentError as error:
                wait_s = recovery.wait_s(error)
                if wait_s is None or not form.can_be_repeated:
                    raise
            _NEVER.wait(wait_s)

    def _upload(self, form: Form, message: Message, recovery: Recovery) -> Answer:
        def pieces() -> Iterator[bytes]:
            sent = 0
            for piece in form.pieces():
                yield piece
                sent += len(piece)
                recovery.reached(sent)

        request = self._connection.request(message, recovery.attempt_s(message.request_id))
        try:
            response = self._http.request(**request | {"content": pieces()})
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error
        return check(Answer(response.status_code, response.headers, response.content), message)

    def receive(self, transfer: Transfer[T], recovery: Recovery) -> Generator[T, None, None]:
        """Yield the items of a response; send the request again until all have arrived, or cannot arrive."""
        while not transfer.is_over:
            message = transfer.begin()
            try:
                with contextlib.closing(self._pieces(message, recovery)) as pieces:
                    for data in pieces:
                        yield from transfer.receive(data)
                        recovery.reached(transfer.position)
                        if transfer.is_over:
                            return
                transfer.end()
            except SentimentError as error:
                wait_s = recovery.wait_s(error)
                if wait_s is None:
                    raise
                _NEVER.wait(wait_s)

    def _pieces(self, message: Message, recovery: Recovery) -> Generator[bytes, None, None]:
        request = self._connection.request(message, recovery.attempt_s(message.request_id))
        try:
            with self._http.stream(**request) as response:
                if response.status_code != 200:
                    check(Answer(response.status_code, response.headers, response.read()), message)
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error

    def predict_many(self, texts: Iterable[str], many: ManyOptions) -> Iterator[Result]:
        former = many.former(self._known_limits())
        pending: deque[Future[list[Result]]] = deque()
        abandoned = threading.Event()
        executor = ThreadPoolExecutor(many.concurrency, thread_name_prefix="rt-sentiment-client")
        try:
            for formed in form(texts, former):
                pending.append(executor.submit(self._predict_list, formed, many, abandoned))
                while pending and (len(pending) >= many.lookahead or pending[0].done()):
                    yield from deliver(pending.popleft().result(), many.on_error)
            while pending:
                yield from deliver(pending.popleft().result(), many.on_error)
            if former.failure:
                raise former.failure
        finally:
            abandoned.set()
            executor.shutdown(wait=False, cancel_futures=True)

    def _predict_list(self, texts: TextList, many: ManyOptions, abandoned: threading.Event) -> list[Result]:
        return self._predict_part(texts, many, Deadline(many.timeout_s), abandoned)

    def _predict_part(
        self, texts: TextList, many: ManyOptions, deadline: Deadline, abandoned: threading.Event
    ) -> list[Result]:
        message = list_message(texts, many.options, many.request_id_of(texts))
        try:
            return read_predictions(self.send(message, deadline, abandoned), message, texts)
        except SentimentError as error:
            if abandoned.is_set() or not should_split(texts, error, deadline):
                return in_each_place(texts, error)
        first, second = texts.halves()
        return [
            *self._predict_part(first, many, deadline, abandoned),
            *self._predict_part(second, many, deadline, abandoned),
        ]

    def _known_limits(self) -> Limits | None:
        """Return the server's limits; None if it does not say them now."""
        if self._limits is None:
            message = info_message(request_id_of(None))
            with contextlib.suppress(SentimentError):
                self._limits = read_info(self._attempt(message, INFO_TIMEOUT_S), message).limits
        return self._limits
