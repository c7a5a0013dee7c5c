"""What Hugging Face's client reads from a server: prints JSON. Its argument is the server.

It runs in a process of its own, because the tests are otherwise not allowed to reach the hub.
"""

import asyncio
import json
import sys
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

TEXTS = ["good", "schön 😀", "bad"]


def shown(classes: Any) -> Any:
    return [[each.label, each.score] for each in classes]


async def asynchronous(address: str) -> Any:
    async with AsyncInferenceClient(base_url=address) as client:
        return [shown(await client.text_classification(text)) for text in TEXTS]


def main() -> None:
    (address,) = sys.argv[1:]
    client = InferenceClient(model=address)
    report = {
        "scores": [shown(client.text_classification(text)) for text in TEXTS],
        "asynchronous": asyncio.run(asynchronous(address)),
        "best": [shown(client.text_classification(text, top_k=1)) for text in TEXTS],
        "logits": [shown(client.text_classification(text, function_to_apply="none")) for text in TEXTS],
    }
    try:
        client.text_classification(" ")
    except HfHubHTTPError as error:
        if error.response is not None:
            report["error"] = [error.response.status_code, error.response.json()]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
