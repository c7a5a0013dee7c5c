"""mosec: HTTP, queue and batches in Rust, the model in worker processes.

- `num` is the number of cores: one process for each.
- `max_batch_size` with `max_wait_time` at its least, 1 ms: what is in the queue when a worker is free makes a batch.
- `--log-level warning`; there is no access log. (The command is in the catalogue.)

https://mosecorg.github.io/mosec/reference/interface.html#mosec.server.Server.append_worker
https://mosecorg.github.io/mosec/reference/arguments.html
"""

from typing import Any

from mosec import Server, Worker

from app.cpu import usable_cores
from perf.peers.model import MAX_BATCH_SIZE, Model


class Sentiment(Worker):
    def __init__(self) -> None:
        self.model = Model()

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, Any]]:
        return self.model.predict([body["text"] for body in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Sentiment, num=usable_cores(), max_batch_size=MAX_BATCH_SIZE, max_wait_time=1, route="/predict"
    )
    server.run()
