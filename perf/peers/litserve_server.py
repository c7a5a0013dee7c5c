"""LitServe: worker processes that collect batches, behind the same number of processes that handle HTTP.

- `workers_per_device` is the number of cores, as recommended for CPUs. The number of API servers is the same, which is
  the default.
- `fast_queue`, recommended for more than a hundred requests per second.
- `max_batch_size` with a `batch_timeout` of 2 ms. With 0, an idle worker polls its queue without a pause.
- `log_level="warning"` and no access log, as in the production example.

https://lightning.ai/docs/litserve/features/batching
https://lightning.ai/docs/litserve/api-reference/litserver
"""

import sys
from typing import Any

import litserve

from app.cpu import usable_cores
from perf.peers.model import MAX_BATCH_SIZE, Model


class Sentiment(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.model = Model()

    def decode_request(self, request: dict[str, Any]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, x: list[str]) -> list[dict[str, Any]]:
        return self.model.predict(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Sentiment(max_batch_size=MAX_BATCH_SIZE, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=usable_cores(),
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, generate_client_file=False
    )
