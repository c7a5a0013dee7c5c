"""BentoML: worker processes with uvicorn in each, and batches whose size and wait follow the load.

- `workers` is the number of cores, as is told for CPUs.
- `batchable`, with the limits of the documentation's example. Such an endpoint takes a list, here of one text; a
  second service in front, which would take the text alone, costs a hop more.
- uvloop, which uvicorn takes where it is installed, and no access log, metrics or telemetry.

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
