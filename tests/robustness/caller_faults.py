"""Faults of clients that take more than their share of the model."""

import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from app.access import add_key
from tests.robustness.fault import Outcome, fault, outcome
from tests.support.process import serve
from tests.support.waiting import HANG_S

CONNECTIONS, LONG_WORDS, REQUESTS = 48, 300, 30
# The deadline of a short text, in times of a long text on an idle server. It waits for the batches that run and for its
# own, which may have as many tokens as a long text. Behind the texts of the flood, it would wait much longer.
PATIENCE = 20
WORDS = "the film acting story plot scene great terrible boring music ending cast script funny dull bright slow".split()


def words(count: int) -> dict[str, str]:
    return {"text": " ".join(random.choices(WORDS, k=count))}


async def _flood(address: str, flooder: str, polite: str) -> Counter[str]:
    responses: Counter[str] = Counter()
    finished = asyncio.Event()
    limits = httpx.Limits(max_connections=CONNECTIONS + 1)
    async with httpx.AsyncClient(base_url=address, timeout=HANG_S, limits=limits, trust_env=False) as http:

        async def send(key: str, count: int, **headers: str) -> httpx.Response:
            return await http.post("/predict", json=words(count), headers={"X-API-Key": key, **headers})

        async def flood() -> None:
            while not finished.is_set():
                if (await send(flooder, LONG_WORDS)).status_code == 429:
                    await asyncio.sleep(0.02)

        times_s = []
        for _ in range(5):
            started_s = time.monotonic()
            await send(polite, LONG_WORDS)
            times_s.append(time.monotonic() - started_s)
        deadline_ms = f"{PATIENCE * statistics.median(times_s) * 1000:.0f}"
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(flood())
            await asyncio.sleep(PATIENCE * times_s[-1])
            for _ in range(REQUESTS):
                status = (await send(polite, 8, **{"X-Request-Timeout-Ms": deadline_ms})).status_code
                responses["right" if status == 200 else f"wrong: {status}"] += 1
                await asyncio.sleep(0.02)
            finished.set()
    return responses


@fault
def a_client_floods_the_server() -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.yaml"
        keys = [add_key(file, name) for name in ("flooder", "polite")]
        with serve(api_keys_file=str(file)) as server:
            responses = asyncio.run(_flood(server.address, *keys))
    return outcome(f"one client floods the server with {LONG_WORDS} words over {CONNECTIONS} connections", responses)
