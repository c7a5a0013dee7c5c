"""`python -m perf.profile.parts`: processor time of each step for one text, in microseconds.

The last column compares a step with one run of the model for one text on one core, which shows what is worth making
faster.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence

import orjson

from app.api.schemas import PredictRequest
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from app.scheduling import BatchQueue, CostModel, Entry, Lane
from app.serving.cache import Cache, key_of
from perf.load.bare_model import FOLDER, BareModel
from perf.load.texts import sentences

_TEXTS = sentences(2000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.parts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds; the fastest one counts")
    args = parser.parse_args()
    model = BareModel()
    batches = [[text] for text in model.encode(_TEXTS[:200])]
    model_us = min(_each_us(lambda: [model.run(batch) for batch in batches], len(batches)) for _ in range(args.rounds))
    print(f"{'run the model, one text':44}{model_us:9.1f} µs")
    for name, step in _steps().items():
        each_us = min(_each_us(step, len(_TEXTS)) for _ in range(args.rounds))
        print(f"{name:44}{each_us:9.2f} µs{each_us / model_us:8.2%}")


def _steps() -> dict[str, Callable[[], object]]:
    tokenizer = Tokenizer.load(FOLDER, max_tokens=512)
    bodies = [orjson.dumps({"text": text}) for text in _TEXTS]
    keys = [key_of(text) for text in _TEXTS]
    cache: Cache[bytes, int, int] = Cache(len(keys))
    for key in keys:
        cache.finish(key, 1)
    lengths = [len(encoding) for encoding in tokenizer.encode_many(_TEXTS)]
    cost = CostModel()
    return {
        "validate the body": lambda: [PredictRequest.model_validate_json(body) for body in bodies],
        "normalise the text": lambda: [normalise(text) for text in _TEXTS],
        "compute the cache key": lambda: [key_of(text) for text in _TEXTS],
        "look up the cache, hit": lambda: [cache.get(key) for key in keys],
        "look up the cache, miss": lambda: [cache.get(key[1:]) for key in keys],
        "tokenise, one by one": lambda: [tokenizer.encode(text) for text in _TEXTS],
        "tokenise, 32 at a time": lambda: [tokenizer.encode_many(_TEXTS[at : at + 32]) for at in range(0, 2000, 32)],
        "queue and form batches, 32 in the queue": lambda: _queue_and_batch(lengths, 32),
        "queue and form batches, 1000 in the queue": lambda: _queue_and_batch(lengths, 1000),
        "predict and learn the cost of a batch": lambda: [
            cost.observe(length, cost.predict(length)) for length in lengths
        ],
    }


def _queue_and_batch(lengths: Sequence[int], depth: int) -> None:
    """Push all texts, and take a batch whenever more than `depth` are in the queue."""
    queue: BatchQueue[Entry] = BatchQueue(CostModel(), max_batch_size=16, max_batch_tokens=512)
    lane = Lane(lambda payloads, **_: payloads)
    for place, length in enumerate(random.Random(1).sample(lengths, len(lengths))):
        entry = Entry(length, 0.0, lane)
        entry.caller = queue.callers.find(f"{place % 4}")
        queue.wait_ms(entry.caller, length)
        queue.push(entry)
        if len(queue) > depth:
            queue.take()
    while queue.take():
        pass


def _each_us(step: Callable[[], object], times: int) -> float:
    started_s = time.process_time()
    step()
    return (time.process_time() - started_s) / times * 1e6


if __name__ == "__main__":
    main()
