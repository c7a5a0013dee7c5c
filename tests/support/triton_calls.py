"""What Triton's clients read from a server: prints JSON. Runs in their own environment, with the server as argument."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

TEXTS = ["good", "schön 😀", "bad"]
COMPRESSIONS = [(None, None), ("gzip", None), ("deflate", "gzip"), ("gzip", "deflate")]


def inputs(binary: bool, texts: list[str] = TEXTS, column: bool = False) -> list[Any]:
    shape = [len(texts), 1] if column else [len(texts)]
    text = triton.InferInput("TEXT", shape, "BYTES")
    text.set_data_from_numpy(np.array([each.encode() for each in texts], dtype=object).reshape(shape), binary)
    return [text]


def outputs(binary: bool) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in ("LABEL", "SCORES")]


def shown(result: Any) -> Any:
    labels = [each.decode() if isinstance(each, bytes) else each for each in result.as_numpy("LABEL")]
    return [labels, np.round(result.as_numpy("SCORES").astype(float), 4).tolist(), result.get_response().get("id")]


def sync_calls(address: str, model: str) -> Any:
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert not client.is_model_ready("other")
    metadata = client.get_model_metadata(model)
    (version,) = metadata["versions"]
    assert client.is_model_ready(model, version)
    answers = [
        shown(
            client.infer(
                model,
                inputs(binary_in, column=column),
                model_version=version if column else "",
                outputs=wanted,
                request_id="r1",
                timeout=60_000_000,
                request_compression_algorithm=compression[0],
                response_compression_algorithm=compression[1],
                headers={"X-Request-ID": "triton"},
            )
        )
        for binary_in in (True, False)
        for wanted in (None, outputs(True), outputs(False))
        for column in (True, False)
        for compression in COMPRESSIONS
    ]
    best = client.infer(model, inputs(True), outputs=[triton.InferRequestedOutput("SCORES", class_count=2)])
    return {
        "server": client.get_server_metadata(),
        "model": metadata,
        "index": client.get_model_repository_index(),
        "answers": answers,
        "classes": [[each.decode() for each in row] for row in best.as_numpy("SCORES")],
        "errors": [error_of(client, model, *call) for call in ((inputs(True, [" "]),), (inputs(False, ["a"] * 300),))],
        "unknown": error_of(client, "other", inputs(True)),
    }


def error_of(client: Any, model: str, text: list[Any]) -> Any:
    try:
        client.infer(model, text)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


async def aio_calls(address: str, model: str) -> Any:
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready(model)
        return [
            shown(
                await client.infer(
                    model,
                    inputs(binary_in),
                    outputs=wanted,
                    request_id="r1",
                    request_compression_algorithm=compression[0],
                    response_compression_algorithm=compression[1],
                )
            )
            for binary_in in (True, False)
            for wanted in (None, outputs(True), outputs(False))
            for compression in COMPRESSIONS
        ]


def main() -> None:
    address, model = sys.argv[1:]
    report = {"sync": sync_calls(address, model), "aio": asyncio.run(aio_calls(address, model))}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
