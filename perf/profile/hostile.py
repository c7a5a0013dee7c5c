"""`python -m perf.profile.hostile`: whether the time for a text grows with its length alone, whatever it says.

For each kind of hostile text it prints the processor time of normalising and tokenising, in microseconds per character,
for texts of 1 250 and 10 000 characters; the time for the longer text divided by that for eight of the shorter; and for
how long another thread had to wait for the interpreter lock while the text was prepared as the service does it, in
milliseconds. Exits with 1 if the times grow faster than the length, or if the lock was held for more than 20 ms.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from app.inference import Tokenizer, expands_beyond, normalise
from perf.load.bare_model import FOLDER
from perf.load.hostile import hostile_texts

_SHORT, _LONG = 1250, 10_000  # characters; the longer is the default limit
_MAX_GROWTH = 2.5  # of the time per character; caches of the processor alone make it 1.5
_MAX_HELD_MS = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.hostile", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; the fastest one counts (%(default)s)")
    parser.add_argument("--only", default="", help="only texts with these words in their names")
    args = parser.parse_args()
    sys.setswitchinterval(0.0001)  # as the service does
    tokenizer = Tokenizer.load(FOLDER, max_tokens=512)
    tokenizer.encode_many(["starts the threads of the library"])
    failed = []
    print(f"{'':42}{'normalise':>16}{'growth':>8}{'tokenise':>18}{'growth':>8}{'lock held':>11}")
    for name, long in hostile_texts(_LONG).items():
        if args.only not in name:
            continue
        texts = hostile_texts(_SHORT)[name], long
        normalising = [_us(partial(_normalised, text), args.rounds) for text in texts]
        tokenising = [_us(partial(tokenizer.encode, _normalised(text)), args.rounds) for text in texts]
        held_ms = min(_held_ms(partial(_prepare, tokenizer, long)) for _ in range(args.rounds))
        cells = []
        for times in normalising, tokenising:
            # Microseconds that are too few to compare count as ten.
            growth = times[1] / max(10.0 * _LONG / _SHORT, times[0] * _LONG / _SHORT)
            cells.append(f"{times[0] / _SHORT:8.2f}{times[1] / _LONG:8.2f}{growth:8.1f}")
            if growth > _MAX_GROWTH:
                failed.append(f"{name}: the time per character grows by {growth:.1f}")
        if held_ms > _MAX_HELD_MS:
            failed.append(f"{name}: the lock was held for {held_ms:.0f} ms")
        print(f"{name:42}{cells[0]}  {cells[1]}{held_ms:8.1f} ms")
    sys.exit("\n".join(failed))


def _prepare(tokenizer: Tokenizer, text: str) -> None:
    tokenizer.encode_many([_normalised(text)])


def _normalised(text: str) -> str:
    return "" if expands_beyond(text, 2 * _LONG) else normalise(text)


def _us(work: Callable[[], object], rounds: int) -> float:
    """Return the processor time of `work` in this thread."""
    times = []
    for _ in range(rounds):
        started_s = time.thread_time()
        work()
        times.append(time.thread_time() - started_s)
    return min(times) * 1e6


def _held_ms(work: Callable[[], object]) -> float:
    """Return how long a thread that only reads the clock had to wait while `work` ran in another."""
    started, done = threading.Event(), threading.Event()
    longest_s = 0.0

    def read_clock() -> None:
        nonlocal longest_s
        before_s = time.perf_counter()
        started.set()
        while not done.is_set():
            time.sleep(0.0005)
            now_s = time.perf_counter()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s

    clock = threading.Thread(target=read_clock)
    clock.start()
    started.wait()
    work()
    done.set()
    clock.join()
    return longest_s * 1000


if __name__ == "__main__":
    main()
