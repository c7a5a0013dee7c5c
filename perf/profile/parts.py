"""`python -m perf.profile.parts`: microseconds of processor time that each part of the way takes for one text.

Beside each stands the share of what the model alone takes for such a text, on one core: what is worth making faster.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence

import orjson

from app.api.schemas import PredictRequest
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from app.scheduling.cost import CostModel
from app.scheduling.queue import BatchQueue, Entry
from app.serving.cache import Cache, key_of
from perf.load.bare import FOLDER, Bare
from perf.load.texts import sentences

_TEXTS = sentences(2000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.parts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="the least of them is shown: a machine only adds to it")
    args = parser.parse_args()
    bare = Bare()
    ids = [[text] for text in bare.encode(_TEXTS[:200])]
    model_us = min(_each_us(lambda: [bare.run(one) for one in ids], len(ids)) for _ in range(args.rounds))
    print(f"{'the model, a text alone':44}{model_us:9.1f} µs")
    for name, work in _parts().items():
        each_us = min(_each_us(work, len(_TEXTS)) for _ in range(args.rounds))
        print(f"{name:44}{each_us:9.2f} µs{each_us / model_us:8.2%}")


def _parts() -> dict[str, Callable[[], object]]:
    tokenizer = Tokenizer.load(FOLDER, max_tokens=512)
    bodies = [orjson.dumps({"text": text}) for text in _TEXTS]
    keys = [key_of(text) for text in _TEXTS]
    cache: Cache[bytes, int, int] = Cache(len(keys))
    for key in keys:
        cache.land(key, 1)
    lengths = [len(encoding) for encoding in tokenizer.encode_many(_TEXTS)]
    cost = CostModel()
    return {
        "validate the body": lambda: [PredictRequest.model_validate_json(body) for body in bodies],
        "normalise": lambda: [normalise(text) for text in _TEXTS],
        "make the cache's key": lambda: [key_of(text) for text in _TEXTS],
        "look it up in the cache, known": lambda: [cache.get(key) for key in keys],
        "look it up in the cache, unknown": lambda: [cache.get(key[1:]) for key in keys],
        "tokenise, one by one": lambda: [tokenizer.encode(text) for text in _TEXTS],
        "tokenise, 32 at a time": lambda: [tokenizer.encode_many(_TEXTS[at : at + 32]) for at in range(0, 2000, 32)],
        "queue, and form batches, 32 in the queue": lambda: _queue(lengths, 32),
        "queue, and form batches, 1000 in the queue": lambda: _queue(lengths, 1000),
        "predict and learn the cost of a batch": lambda: [
            cost.observe(length, cost.predict(length)) for length in lengths
        ],
    }


def _queue(lengths: Sequence[int], depth: int) -> None:
    """Push all, and take a batch whenever more than `depth` wait."""
    queue: BatchQueue[Entry] = BatchQueue(CostModel(), max_batch_size=16, max_batch_tokens=512)
    for place, length in enumerate(random.Random(1).sample(lengths, len(lengths))):
        queue.push(Entry(length, float(place)))
        queue.backlog_ms(float(place))
        if len(queue) > depth:
            queue.take()
    while queue.take():
        pass


def _each_us(work: Callable[[], object], times: int) -> float:
    begun_s = time.process_time()
    work()
    return (time.process_time() - begun_s) / times * 1e6


if __name__ == "__main__":
    main()
