"""Before a text can be looked up or queued: its normal form, its cache key, its tokens. Long work runs in threads."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ..errors import TextTooLong
from ..inference import Tokenizer, expands_beyond, normalise
from ..scheduling import Lane, Scheduler, Wait
from ..types import Encoding, Text, pack, unpack
from .brownout import Brownout
from .cache import key_of, owner_of
from .offload import Offload, is_short, is_simple
from .pending import in_time
from .query import Query

T = TypeVar("T")
X = TypeVar("X", bound=Text)

BLANK = key_of("")
TOO_LONG = b"too long"  # the key of all texts with too many characters; other keys are longer
_TOKEN_CHARS = 4  # on average


class Preparation:
    """Prepares the texts of queries. Texts that are prepared in threads count as queued for admission.

    The keys of models with a different `cache_salt` differ; with `cache_per_caller`, those of different callers, too.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        scheduler: Scheduler[Any, Any],
        lane: Lane,
        offload: Offload,
        *,
        max_text_chars: int,
        cache_salt: bytes = b"",
        cache_per_caller: bool = False,
        brownout: Brownout | None = None,
    ) -> None:
        self.offload = offload
        self.too_many_characters = f"the text has more than {max_text_chars} characters"
        self._tokenizer = tokenizer
        self._scheduler = scheduler
        self._lane = lane
        self._cache_salt = cache_salt
        self._max_text_chars = max_text_chars
        self._cache_per_caller = cache_per_caller
        self._brownout = brownout

    def check_characters(self, query: Query) -> None:
        """Raise `TextTooLong` if a text has too many characters."""
        for index, text in enumerate(query.texts):
            if len(text) > self._max_text_chars and len(unpack(text)) > self._max_text_chars:
                raise TextTooLong(self.too_many_characters, query.location_of(index))

    def admit(self, texts: Collection[Text], query: Query, deadline_s: float, *, copies: int = 1) -> Wait:
        """Admit texts that have not been tokenised yet, each `copies` times. Raises as `Scheduler.admit` does."""
        tokens = sum(map(len, texts)) // (_TOKEN_CHARS * len(texts)) + 2
        return self._scheduler.admit(
            copies * len(texts),
            deadline_s,
            query.caller,
            cost=self._lane.expected_cost(min(tokens, self._tokenizer.max_tokens)),
            elsewhere=self.offload.texts(query.caller),
        )

    async def normalise(self, query: Query, deadline_s: float) -> Sequence[tuple[Text, bytes]]:
        """Return each text normalised, and its cache key: `BLANK` if nothing is left, `TOO_LONG` if it is."""
        owner = owner_of(query.caller) if self._cache_per_caller else b""
        if is_short(query.texts):
            return self._normalise(query.texts, owner)
        work = partial(self._normalise_packed, owner=owner)
        return await self.run(work, query.texts, query, deadline_s, here=False)

    def _normalise(self, texts: Sequence[Text], owner: bytes) -> list[tuple[str, bytes]]:
        return [self._normalise_one(unpack(text), owner) for text in texts]

    def _normalise_packed(self, texts: Sequence[Text], owner: bytes) -> list[tuple[Text, bytes]]:
        return [(pack(text), key) for text, key in self._normalise(texts, owner)]

    def _normalise_one(self, text: str, owner: bytes) -> tuple[str, bytes]:
        limit = self._max_text_chars
        # Tags and links are short once normalised, but not by half.
        if len(text) <= limit and not expands_beyond(text, 2 * limit):
            text = normalise(text)
            if len(text) <= limit:  # again, because NFKC expands some characters
                return text, key_of(text, owner, self._cache_salt) if text else BLANK
        return "", TOO_LONG

    async def tokenize(
        self, texts: Mapping[bytes, Text], query: Query, deadline_s: float
    ) -> dict[bytes, list[Encoding]]:
        """Return the tokens of each text: one encoding, or one for each window if the query reads windows.

        They say how many parts of the model the text may go through now.
        """
        here = is_simple(texts.values())
        if query.reads_windows:
            encode_windows = partial(self._tokenizer.encode_windows, here=here)
            every: list[list[Encoding]] = await self.run(
                encode_windows, list(texts.values()), query, deadline_s, here=here
            )
        else:
            encode = partial(self._tokenizer.encode_many, here=here)
            every = [[each] for each in await self.run(encode, list(texts.values()), query, deadline_s, here=here)]
        if self._brownout and query.may_be_shallow:
            wait_ms = self._scheduler.predicted_wait_ms(query.caller)
            if most := self._brownout.most_parts(wait_ms):
                every = [[replace(each, most_parts=most) for each in parts] for parts in every]
        return dict(zip(texts, every, strict=True))

    async def run(
        self,
        work: Callable[[Sequence[X]], list[T]],
        texts: Sequence[X],
        query: Query,
        deadline_s: float,
        *,
        here: bool,
        copies: int = 1,
    ) -> list[T]:
        """Run `work` on texts, at once if it may run `here`, otherwise in threads, in the turn of the caller.

        In threads, each text counts as `copies` texts.
        """
        if here:
            return work(texts)
        self.admit(texts, query, deadline_s, copies=copies)
        return await in_time(self.offload.run(work, texts, query.caller, copies=copies), deadline_s)
