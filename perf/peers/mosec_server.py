"""mosec: HTTP, queue and batching in Rust, and the model in worker processes.

- `num` is the number of cores: one process per core.
- `max_batch_size` with the smallest `max_wait_time`, 1 ms: a free worker takes what is in the queue as its batch.
- `--log-level warning`; there is no access log. (The command is in `catalogue.py`.)

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
