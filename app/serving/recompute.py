"""Texts that are scored anew, to check a model: each waits for its turn among the requests of callers."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SentimentError
from ..inference import Tokenizer, normalise
from ..scheduling import Lane, Scheduler, Waiting, WorkItem
from ..types import Encoding, Payload, Prediction, Text, unpack
from .pending import in_time

_AT_ONCE = 4  # in the queue: what is checked must not hold up what is asked


@dataclass(frozen=True, slots=True)
class Turn:
    """As which caller texts wait, and how long each may take."""

    caller: str
    timeout_s: float


async def recompute(
    texts: Sequence[Text],
    tokenizer: Tokenizer,
    scheduler: Scheduler[Payload, Prediction],
    lane: Lane,
    turn: Turn,
) -> list[Prediction | SentimentError]:
    """Return a prediction for each text; one that cannot be scored in time has an error in its place."""
    encodings = await asyncio.to_thread(_encode, texts, tokenizer)
    room = asyncio.Semaphore(_AT_ONCE)

    async def score(encoding: Encoding) -> Prediction | SentimentError:
        async with room:
            deadline_s = time.monotonic() + turn.timeout_s
            item: WorkItem[Payload, Prediction] = WorkItem(len(encoding), encoding, lambda _: None, lane)
            waiting: Waiting[Payload, Prediction] = Waiting(scheduler, deadline_s, turn.caller)
            try:
                scheduler.submit([item], deadline_s, turn.caller)
                waiting.join([item])
                with waiting:
                    return (await in_time(waiting.results(), deadline_s))[0]
            except SentimentError as error:
                return error

    return await asyncio.gather(*map(score, encodings))


def _encode(texts: Sequence[Text], tokenizer: Tokenizer) -> list[Encoding]:
    # Long texts would block the event loop while they are normalised, too.
    return tokenizer.encode_many([normalise(unpack(text)) for text in texts])
