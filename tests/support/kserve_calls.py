"""What KServe's client reads from a server: prints JSON. Runs in its own environment, with the server as argument."""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

TEXTS = ["good", "schön 😀", "bad"]


def request(model: str, binary_in: bool, binary_out: bool | None, texts: list[str] = TEXTS) -> Any:
    text = InferInput("TEXT", [len(texts)], "BYTES")
    text.set_data_from_numpy(np.array([each.encode() for each in texts], dtype=object), binary_data=binary_in)
    wanted = None
    if binary_out is not None:
        wanted = [RequestedOutput(name, {"binary_data": binary_out}) for name in ("LABEL", "SCORES")]
    return InferRequest(model, [text], request_id="r1", request_outputs=wanted)


def shown(response: Any) -> Any:
    found = {output.name: output.as_numpy() for output in response.outputs}
    labels = [each.decode() if isinstance(each, bytes) else str(each) for each in found["LABEL"].tolist()]
    return [labels, np.round(found["SCORES"].astype(float), 4).tolist(), response.id]


async def calls(address: str, model: str) -> Any:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(address)
    assert await client.is_server_ready(address)
    assert await client.is_model_ready(address, model)
    answers = [
        shown(await client.infer(address, request(model, binary_in, binary_out), model_name=model))
        for binary_in in (True, False)
        for binary_out in (None, True, False)
    ]
    try:
        await client.infer(address, request(model, True, None, [" "]), model_name=model)
        error = ""
    except httpx.HTTPStatusError as failure:
        error = str(failure)
    return {"answers": answers, "error": error}


def main() -> None:
    print(json.dumps(asyncio.run(calls(*sys.argv[1:]))))


if __name__ == "__main__":
    main()
