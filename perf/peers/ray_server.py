"""Ray Serve: an HTTP proxy that passes requests to replicas, each in its own process.

- `num_replicas` is the number of cores, with one core for each replica.
- `@serve.batch` with a wait of 2 ms, well below the target latency, as recommended. `max_ongoing_requests` allows one
  batch that runs and one that fills (the default of 5 would keep batches small).
- RAY_SERVE_THROUGHPUT_OPTIMIZED, set in `catalogue.py`, turns on the flags "optimized for throughput". They require
  that nothing blocks the event loop, so the model runs in a thread.
- No access log, dashboard or usage statistics. Listens on this machine only, with a token for this run only.

https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
https://docs.ray.io/en/latest/serve/advanced-guides/performance.html
"""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
from typing import Any

os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # otherwise Ray stores a token in the home directory

import ray
from ray import serve
from starlette.requests import Request

from app.cpu import usable_cores
from perf.peers.model import MAX_BATCH_SIZE, Model


@serve.deployment(
    num_replicas=usable_cores(), max_ongoing_requests=2 * MAX_BATCH_SIZE, ray_actor_options={"num_cpus": 1}
)
class Sentiment:
    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=0.002)
    async def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.model.predict, texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        return await self.predict(body["text"])


def main(port: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=usable_cores(),
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})
            serve.run(Sentiment.bind(), route_prefix="/predict")
            signal.pause()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
