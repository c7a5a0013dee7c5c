"""From texts to predictions: normalise, look up, tokenise and queue, each once. Knows neither HTTP nor the model."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain

from ..errors import BackendError, InvalidInput, SentimentError, TextTooLong
from ..inference import Tokenizer
from ..scheduling import Lane, Scheduler, Wait, Waiting, WorkItem
from ..types import Answer, Encoding, Location, Payload, Prediction, Text
from .brownout import Brownout
from .cache import Cache, key_of_part
from .explanations import explain_answer
from .observer import Observer, VariantObserver, observed
from .offload import Offload, is_simple
from .pending import Pending
from .preparation import BLANK, TOO_LONG, Preparation
from .query import Query
from .recompute import Turn, recompute
from .resolution import Item, Resolution, suits
from .shared import SharedPredictions

Result = Prediction | SentimentError
ByKey = Mapping[bytes, Text]  # texts by their cache keys


class Service:
    """Answers queries with one model. Lives on the event loop."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        scheduler: Scheduler[Payload, Prediction],
        lane: Lane,
        cache: Cache[bytes, Prediction, Item],
        *,
        offload: Offload,
        observer: Observer,
        model: str,
        max_text_chars: int,
        cache_salt: bytes = b"",
        cache_per_caller: bool = False,
        shared: SharedPredictions | None = None,
        layers: int = 0,
        brownout_ms: float = 0.0,
    ) -> None:
        """`model` is the `ModelInfo.id` of the model, which runs in `lane`, and has `layers` if it has exits.

        Models share `scheduler`, `cache` and `offload`. Those with another `cache_salt` share no predictions and, with
        `cache_per_caller`, callers do not either. `shared` are those of all replicas. `brownout_ms`: see `Brownout`.
        """
        self.model = model
        self._lane = lane
        self._preparation = Preparation(
            tokenizer,
            scheduler,
            lane,
            offload,
            max_text_chars=max_text_chars,
            cache_salt=cache_salt,
            cache_per_caller=cache_per_caller,
            brownout=Brownout(lane, brownout_ms) if brownout_ms and lane.next else None,
        )
        self._tokenizer = tokenizer
        self._scheduler = scheduler
        self._cache = cache
        self._shared = shared
        self._layers = layers
        self._observer = observer
        self._variant_observer = VariantObserver(observer)

    def predicted_wait_ms(self, caller: str | None = None) -> float:
        """How long a text that arrived now would wait, from this caller or from a new one."""
        return self._scheduler.predicted_wait_ms(caller)

    async def predict(self, query: Query) -> Answer:
        """Answer a query. Raises as `begin` and `Pending.result` do."""
        answer = await self.begin(query)
        return await answer.result() if isinstance(answer, Pending) else answer

    async def explain(self, query: Query, answer: Answer, deadline_s: float) -> Answer:
        """Return the answer to a query with an explanation of each prediction. Raises as `explain_answer` does."""
        return await explain_answer(query, answer, deadline_s, self._preparation, self.predict)

    async def begin(self, query: Query) -> Answer | Pending:
        """Answer from the cache, or queue what is missing and return what to wait for.

        Yields to the event loop only while long texts are prepared in a thread, and while the shared cache is asked
        for what is not in that of the process.

        Raises `Overloaded`, `NotReady` and `DeadlineExceeded`. Raises `InvalidInput` if a text is blank, and
        `TextTooLong` if one has too many characters, or more tokens than the model reads while `truncate` is off and
        it is not read in windows; in a partial query, these errors take the place of the text's prediction.
        """
        observer = self._variant_observer if query.are_variants else self._observer
        started_s = time.monotonic()
        deadline_s = started_s + query.timeout_ms / 1000
        if not query.partial:  # before any work, so that a refusal is cheap
            self._preparation.check_characters(query)
        prepared = await self._preparation.normalise(query, deadline_s)
        keys = [key for _, key in prepared]
        texts = Resolution(keys)
        if TOO_LONG in keys:
            self._reject(TOO_LONG, TextTooLong, self._preparation.too_many_characters, texts, query)
        if BLANK in keys:
            self._reject(BLANK, InvalidInput, "the text has no visible character", texts, query)
        self._look_up(texts.valid, texts, query)
        if len(texts.cached) == len(set(keys)) and not query.partial:  # the common case, kept short
            self._check_tokens(texts, query)
            observer.looked_up("hit", len(keys))
            return Answer(
                observed(observer, texts.windowed, [texts.cached[key] for key in keys]), "hit", layers=self._layers
            )
        # A computation in progress may end while this yields to the event loop, unless it is joined at once.
        if inline := is_simple([text for text, _ in prepared]) and not (self._shared and query.reads_windows):
            self._join(texts.valid, texts, query)
        if shared_s := await self._look_up_shared(texts, texts.valid, query, deadline_s):
            texts.joined.clear()
            self._look_up(texts.valid, texts, query)
            if inline:
                self._join(texts.valid, texts, query)
        admitted = None
        if missing := {key: text for text, key in prepared if not texts.has_result(key)}:
            admitted = self._admit(missing, query, deadline_s)
            began_s = time.perf_counter()
            await self._tokenize(missing, texts, query, deadline_s)
            observer.tokenized(time.perf_counter() - began_s)
            shared_s += await self._look_up_shared(texts, [*chain(*texts.windows.values())], query, deadline_s)
        tokenized_s = time.monotonic()
        self._check_tokens(texts, query)
        # From here on nothing yields to the event loop, so that no computation is missed or started twice.
        if texts.windows or not inline:  # windows have keys of their own; or time has passed
            self._look_up(texts.encodings, texts, query)
            self._join(texts.encodings, texts, query)
            admitted = None
        texts.new = {
            key: self._new_item(key, encoding, observer)
            for key, encoding in texts.encodings.items()
            if not texts.has_result(key)
        }
        items = texts.items
        waiting = self._queue(texts, deadline_s, query, admitted)
        hits, misses, joined = texts.counts()
        observer.looked_up("hit", hits)
        observer.looked_up("miss", misses)
        observer.looked_up("joined", joined)

        def assemble(computed: Sequence[Prediction | BackendError]) -> Answer:
            results = observed(observer, texts.windowed, texts.results(dict(zip(items, computed, strict=True))))
            if not items:
                return Answer(results, "hit", layers=self._layers)
            run_s = max(tokenized_s, min(item.started_s for item in items.values()))
            return Answer(
                results,
                "miss" if texts.new else "joined",
                tokenize_ms=(tokenized_s - started_s - shared_s) * 1000,
                queue_ms=(run_s - tokenized_s) * 1000,
                infer_ms=(max(run_s, *(item.finished_s for item in items.values())) - run_s) * 1000,
                layers=self._layers,
                queued_s=tokenized_s,
            )

        def location_of(place: int) -> Location:
            return query.location_of(texts.index_of([*items][place]))

        if not items:
            return assemble([])
        return Pending(waiting, deadline_s, assemble, None if query.partial else location_of)

    def _check_tokens(self, texts: Resolution, query: Query) -> None:
        if not query.truncate and not query.reads_windows:
            message = f"the text has more than {self._tokenizer.max_tokens} tokens, the limit of the model"
            for key in texts.truncated():
                self._reject(key, TextTooLong, message, texts, query)

    @staticmethod
    def _reject(key: bytes, error: type[InvalidInput], message: str, texts: Resolution, query: Query) -> None:
        """Give a text an error in its place; raise it if the query is not partial."""
        if not query.partial:
            raise error(message, query.location_of(texts.index_of(key)))
        texts.fail(key, error(message))

    def _look_up(self, keys: Iterable[bytes], texts: Resolution, query: Query) -> None:
        for key in keys:
            prediction = None if key in texts.cached else self._cache.get(key)
            if prediction is not None and not (query.reads_windows and prediction.truncated):
                texts.cached[key] = prediction

    def _join(self, keys: Iterable[bytes], texts: Resolution, query: Query) -> None:
        for key in keys:
            if key not in texts.cached and (item := self._cache.in_flight(key)) and suits(item, query):
                texts.joined[key] = item

    async def _look_up_shared(self, texts: Resolution, keys: Sequence[bytes], query: Query, deadline_s: float) -> float:
        """Look up in the shared cache what is neither cached nor running here. Return the seconds that it took.

        0 means that this has not yielded to the event loop.
        """
        if self._shared is None or not query.uses_shared_cache:
            return 0.0
        missing = [
            key
            for key in dict.fromkeys(keys)
            if not (texts.has_result(key) or self._cache.in_flight(key) or self._cache.get(key))
        ]
        if not missing:
            return 0.0
        started_s = time.monotonic()
        for key, prediction in (await self._shared.get(missing, deadline_s - started_s)).items():
            self._cache.put(key, prediction)
            if not (query.reads_windows and prediction.truncated):
                texts.cached[key] = prediction
        return max(time.monotonic() - started_s, 1e-9)

    def _admit(self, missing: ByKey, query: Query, deadline_s: float) -> Wait | None:
        """Admit the missing texts before they are tokenised: a refusal must be cheap."""
        texts = missing
        if query.reads_windows:  # those of which no window is known, as far as one can tell by now
            first = {key: key_of_part(key, 0) for key in missing}
            texts = {
                key: text
                for key, text in missing.items()
                if not (self._cache.in_flight(first[key]) or self._cache.get(first[key]))
            }
        return self._preparation.admit(texts.values(), query, deadline_s) if texts else None

    async def _tokenize(self, missing: ByKey, texts: Resolution, query: Query, deadline_s: float) -> None:
        for key, parts in (await self._preparation.tokenize(missing, query, deadline_s)).items():
            if len(parts) > 1:
                texts.windows[key] = [key_of_part(key, place) for place in range(len(parts))]
            texts.encodings.update(zip(texts.windows.get(key, [key]), parts, strict=True))

    def _queue(
        self, texts: Resolution, deadline_s: float, query: Query, admitted: Wait | None
    ) -> Waiting[Payload, Prediction]:
        waiting: Waiting[Payload, Prediction] = Waiting(self._scheduler, deadline_s, query.caller, query.request)
        try:
            # First those in flight: queueing new ones may end an item that only a list without a chance waits for.
            waiting.join(texts.joined.values())
            if texts.new:
                # By length, so that texts of a similar length share a batch.
                in_order = sorted(texts.new.values(), key=lambda item: item.tokens)
                self._scheduler.submit(in_order, deadline_s, query.caller, admitted=admitted)
                waiting.join(texts.new.values())
        except BaseException:
            waiting.leave()
            raise
        for key, item in texts.new.items():
            self._cache.start(key, item)
        return waiting

    def _new_item(self, key: bytes, encoding: Encoding, observer: Observer) -> Item:
        settled = partial(self._settled, key, len(encoding), observer)
        return WorkItem(len(encoding), encoding, settled, self._lane, most_lanes=encoding.most_parts)

    def _settled(self, key: bytes, tokens: int, observer: Observer, result: Prediction | Exception | None) -> None:
        self._cache.finish(key, result if isinstance(result, Prediction) and not result.shallow else None)
        if isinstance(result, Prediction):
            observer.computed(result, tokens)
            if self._shared and not result.shallow:
                self._shared.put(key, result)
        elif isinstance(result, BackendError):
            observer.backend_failed()

    async def recompute(self, texts: Sequence[Text], caller: str, timeout_s: float) -> list[Result]:
        """Score texts anew, whatever the cache has. See `recompute`."""
        return await recompute(texts, self._tokenizer, self._scheduler, self._lane, Turn(caller, timeout_s))
