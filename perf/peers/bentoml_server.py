"""BentoML: worker processes with uvicorn in each, and batches whose size and wait adapt to the load.

- `workers` is the number of cores, as recommended for CPUs.
- `batchable`, with the limits from the documentation's example. Such an endpoint takes a list, here with one text. A
  second service in front that takes a single text would add one more hop.
- uvloop, which uvicorn uses if it is installed. No access log, metrics or telemetry.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
https://docs.bentoml.com/en/latest/reference/bentoml/configurations.html
"""

from typing import Any

import bentoml

from app.cpu import usable_cores
from perf.peers.model import MAX_BATCH_SIZE, Model


@bentoml.service(workers=usable_cores(), logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Sentiment:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=1000)
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.model.predict(texts)
