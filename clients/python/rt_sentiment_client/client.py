"""The synchronous client."""

import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Literal, overload

from .connection import Connection, request_id_of
from .errors import SentimentError
from .many import ManyOptions, OnError, check_on_error, check_texts, deliver
from .messages import (
    LongText,
    Options,
    feedback_message,
    info_message,
    read_explained,
    read_info,
    read_prediction,
    text_message,
)
from .model_messages import models_message, read_models
from .stream import Stream
from .sync_http import SyncHTTP
from .sync_jobs import Jobs
from .threads import EventLoopThread, read_in_thread
from .types import ExplainedPrediction, Info, Prediction, ServedModel


class Client:
    """Calls an rt-sentiment server. Threads may share a client; a process that forks should make a new one.

    Args:
        base_url: Address of the server, with a path if it is served below one. By default `RT_SENTIMENT_URL` from the
            environment, or `http://127.0.0.1:8000`.
        api_key: By default `RT_SENTIMENT_API_KEY` from the environment, if that is set.
        timeout_s: How long a call may take, with all its attempts. In `predict_many`, this applies to each list.
        attempt_timeout_s: How long a single attempt may take. The server gets this limit, or what is left of
            `timeout_s`. None: only `timeout_s` counts.
        max_attempts: 1 turns retries off. None: only `timeout_s` counts.
        max_connections: How many connections are open at most.
        headers: Further headers of each request.
        ssl_context: For certificates of your own.

    If the server is overloaded or unavailable, the connection breaks, or an attempt gets no response in time, the
    request is sent again, after a random wait and the server's `Retry-After`, until `timeout_s` has passed.
    Predictions change nothing on the server, so this is safe.

    `jobs` has the background jobs of the server.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        attempt_timeout_s: float | None = 10.0,
        max_attempts: int | None = None,
        max_connections: int = 100,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._connection = Connection.of(
            base_url=base_url,
            api_key=api_key,
            timeout_s=timeout_s,
            attempt_timeout_s=attempt_timeout_s,
            max_attempts=max_attempts,
            max_connections=max_connections,
            headers=headers,
            ssl_context=ssl_context,
        )
        self._http = SyncHTTP(self._connection)
        self.jobs = Jobs(self._http, self._connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.base_url!r})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(
        self,
        text: str,
        *,
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Prediction:
        """Predict the sentiment of one text.

        `top_k` keeps only the most likely classes in `scores`. `long_text="window"` reads all of a text that is too
        long for the model, and `truncate=False` refuses it. `model` is the name of a model of the server, if it is not
        the default one. `timeout_s` replaces that of the client. `request_id` appears in the server's log.
        """
        options = Options(top_k=top_k, long_text=long_text, truncate=truncate, model=model)
        message = text_message(text, options, request_id_of(request_id))
        return read_prediction(self._http.send(message, self._connection.deadline(timeout_s)), message)

    def explain(
        self,
        text: str,
        *,
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> ExplainedPrediction:
        """Predict the sentiment of one text, and return how much each word speaks for the label.

        This takes the server as much work as many texts. The arguments are those of `predict`.
        """
        options = Options(top_k=top_k, long_text=long_text, truncate=truncate, explain=True, model=model)
        message = text_message(text, options, request_id_of(request_id))
        return read_explained(self._http.send(message, self._connection.deadline(timeout_s)), message)

    def feedback(self, request_id: str, label: str, index: int = 0, *, timeout_s: float | None = None) -> None:
        """Say which label was right for a text that was predicted before.

        `request_id` and `index` are those of its prediction. The server keeps only counts, to compare versions of its
        model. It must have feedback turned on, and remembers its last 10 000 requests.
        """
        self._http.send(
            feedback_message(request_id, label, index, request_id_of(None)), self._connection.deadline(timeout_s)
        )

    def info(self, *, timeout_s: float | None = None, request_id: str | None = None) -> Info:
        """Return the server's model and limits."""
        message = info_message(request_id_of(request_id))
        return read_info(self._http.send(message, self._connection.deadline(timeout_s)), message)

    def models(self, *, timeout_s: float | None = None, request_id: str | None = None) -> tuple[ServedModel, ...]:
        """Return the models of the server, and their versions, in the order of its models file.

        If the server has several workers or replicas, one of them answers.
        """
        message = models_message(request_id_of(request_id))
        return read_models(self._http.send(message, self._connection.deadline(timeout_s)), message)

    @overload
    def predict_many(
        self,
        texts: Iterable[str],
        *,
        on_error: Literal["raise"] = "raise",
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        list_size: int = 64,
        concurrency: int = 2,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError,
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        list_size: int = 64,
        concurrency: int = 2,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction | SentimentError]: ...

    def predict_many(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError = "raise",
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        list_size: int = 64,
        concurrency: int = 2,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction | SentimentError]:
        """Predict the sentiments of many texts, in their order.

        The texts are sent in lists of at most `list_size`, of which at most `concurrency` are sent at a time. They are
        read as they are needed, so the iterable may be endless: about `2 * concurrency` lists are read ahead.

        If a text cannot be predicted, its error is raised in its place, after the results before it.
        `on_error="return"` yields the error there and goes on. An error that every text would have, such as a wrong
        API key, is always raised.
        """
        check_texts(texts)
        many = ManyOptions(
            options=Options(top_k=top_k, long_text=long_text, truncate=truncate, model=model),
            on_error=on_error,
            list_size=list_size,
            concurrency=concurrency,
            timeout_s=self._connection.timeout_of(timeout_s),
            request_id=request_id_of(request_id),
        )
        return self._http.predict_many(texts, many)

    @overload
    def stream(
        self,
        texts: Iterable[str],
        *,
        on_error: Literal["raise"] = "raise",
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction]: ...

    @overload
    def stream(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError,
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction | SentimentError]: ...

    def stream(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError = "raise",
        top_k: int | None = None,
        long_text: LongText | None = None,
        truncate: bool | None = None,
        model: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Iterator[Prediction | SentimentError]:
        """Predict the sentiments of texts as they come, in their order, over one connection.

        Each result comes as soon as it is there, also while the iterable makes its next text. It may be endless: at
        most 256 texts are on their way.
        The iterable is read by a thread of its own.

        If the connection breaks, a new one continues with the first text that has no result. `timeout_s` is the
        longest time without any result while texts are on their way.

        `on_error` is that of `predict_many`; an error of the connection is always raised.
        """
        check_texts(texts)
        check_on_error(on_error)
        options = Options(top_k=top_k, long_text=long_text, truncate=truncate, model=model)
        timeout_s = self._connection.timeout_of(timeout_s)
        stream = Stream(self._connection, read_in_thread(texts), options, timeout_s, request_id_of(request_id))
        return _results(stream, on_error)


def _results(stream: Stream, on_error: OnError) -> Iterator[Prediction | SentimentError]:
    thread = EventLoopThread()
    try:
        while results := thread.run(stream.next_results()):
            yield from deliver(results, on_error)
    finally:
        # At the end of the interpreter, threads no longer run.
        if not sys.is_finalizing():
            thread.run(stream.close())
            thread.close()
