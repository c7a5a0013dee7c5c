"""Protocols of others on a real server: what they share with our own routes, and what a request of theirs may say."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.access import add_key
from app.api.protocols.tensors import encode_strings
from tests.support.process import Server, serve

INFER = "/v2/models/mock/infer"
JSON = {"Content-Type": "application/json"}
LOADS_FOREVER = "import app.models, time\napp.models.load_model = lambda *_, **__: time.sleep(3600)"


def infer(texts: list[Any], **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "TEXT", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]} | fields


def binary(texts: list[str], **fields: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the header of a request in the binary extension."""
    tensor = encode_strings(texts)
    text = {"name": "TEXT", "shape": [len(texts)], "datatype": "BYTES"}
    start = json.dumps({"inputs": [text | {"parameters": {"binary_data_size": len(tensor)}}]} | fields).encode()
    return start + tensor, {"Inference-Header-Content-Length": str(len(start))}


def post(server: Server, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if headers is None else headers
    return httpx.post(f"{server.address}{path}", content=content, headers=headers, timeout=30)


def native(server: Server, texts: list[str]) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = server.post({"texts": texts}, "/predict/batch").json()["predictions"]
    return predictions


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with keys and a rate limit, and the headers of a request with a key."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    headers = {"X-API-Key": add_key(file, "web"), "Content-Type": "application/json"}
    with serve(backend="mock", api_keys_file=str(file), rate_limit="300/day") as server:
        yield server, headers


class TestHuggingFace:
    def test_one_text_and_a_list_are_answered_alike(self, mock_server: Server) -> None:
        texts = ["good", "bad", "meh"]
        expected = [
            [{"label": label, "score": score} for label, score in sorted(each["scores"].items(), key=lambda x: -x[1])]
            for each in native(mock_server, texts)
        ]
        response = post(mock_server, "/", {"inputs": texts})
        assert response.json() == expected
        assert (response.headers["x-cache"], response.headers["cache-control"]) == ("hit", "no-store")
        assert "infer;dur=" in response.headers["server-timing"]
        for text, classes in zip(texts, expected, strict=True):
            assert post(mock_server, "/", {"inputs": text, "parameters": {"top_k": 2}}).json() == [classes[:2]]

    def test_options_of_other_servers_are_ignored(self, mock_server: Server) -> None:
        body = {
            "inputs": "good",
            "parameters": {"truncation": True, "top_k": None},
            "options": {"wait_for_model": True},
        }
        assert post(mock_server, "/", body).json() == post(mock_server, "/", {"inputs": "good"}).json()

    @pytest.mark.parametrize(
        ("body", "status", "error"),
        [
            (b"{", 400, "the body is not valid JSON, at line 1 column 1"),
            ({}, 422, "body.inputs: Field required"),
            ({"inputs": 1}, 422, "body.inputs: expected a text or a list of texts"),
            ({"inputs": []}, 422, "body.inputs: expected a text or a list of texts"),
            ({"inputs": {"text": "a", "text_pair": "b"}}, 422, "body.inputs: expected a text or a list of texts"),
            ({"inputs": [["a", "b"]]}, 422, "body.inputs.0: expected a text; pairs of texts are not supported"),
            ({"inputs": ["a", {"text": "b"}]}, 422, "body.inputs.1: expected a text; pairs of texts are not supported"),
            ({"inputs": " "}, 422, "body.inputs: the text has no visible character"),
            ({"inputs": ["a", " "]}, 422, "body.inputs.1: the text has no visible character"),
            ({"inputs": ["a"] * 257}, 413, "body.inputs: the list has more than 256 texts"),
            ({"inputs": ["abcd" * 50] * 256 + [1]}, 413, "body.inputs: the list has more than 256 texts"),
            ({"inputs": "a" * 10_001}, 413, "body.inputs: the text has more than 10000 characters"),
            ({"inputs": ["a", "b" * 10_001]}, 413, "body.inputs.1: the text has more than 10000 characters"),
            ({"inputs": "a", "parameters": {"top_k": 0}}, 422, "body.parameters.top_k: Input should be greater"),
            ({"inputs": "a", "parameters": {"function_to_apply": "tanh"}}, 422, "body.parameters.function_to_apply: "),
            ({"inputs": ["a" * 5000, ["b"]]}, 422, "body.inputs.1: expected a text; pairs of texts are not supported"),
            ({"inputs": "[fail]"}, 500, "the server failed to answer this request"),
        ],
    )
    def test_errors_have_their_shape(self, mock_server: Server, body: Any, status: int, error: str) -> None:
        response = post(mock_server, "/", body, JSON | {"X-Request-ID": "hf/1"})
        assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
        assert response.headers["x-request-id"] == "hf/1"
        assert response.json().keys() == {"error"}
        assert response.json()["error"].startswith(error)

    def test_the_content_type_must_be_json(self, mock_server: Server) -> None:
        response = post(mock_server, "/", {"inputs": "a"}, {"Content-Type": "text/plain"})
        assert (response.status_code, response.json()) == (415, {"error": "the content type must be application/json"})

    def test_the_page_stays_where_it_is(self, mock_server: Server) -> None:
        assert mock_server.get("/").headers["content-type"].startswith("text/html")
        wrong = httpx.put(f"{mock_server.address}/", timeout=30)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")


class TestOpenInference:
    @pytest.mark.parametrize("binary_out", [False, True])
    @pytest.mark.parametrize("binary_in", [False, True])
    @pytest.mark.parametrize("repeat", [1, 80])
    def test_json_and_tensors_give_the_same(
        self, mock_server: Server, binary_in: bool, binary_out: bool, repeat: int
    ) -> None:
        texts = ["good", "schön 😀", "bad"] * repeat
        parameters = {"parameters": {"binary_data_output": binary_out}, "id": "é1"}
        body, headers = binary(texts, **parameters) if binary_in else (json.dumps(infer(texts, **parameters)), {})
        response = post(mock_server, INFER, body.encode() if isinstance(body, str) else body, headers)
        length = int(response.headers.get("inference-header-content-length", len(response.content)))
        assert (length < len(response.content)) == binary_out
        answer, tensors = json.loads(response.content[:length]), response.content[length:]
        labels, scores = answer.pop("outputs")
        assert answer == {"model_name": "mock", "model_version": "mock", "id": "é1"}
        assert (labels["name"], labels["datatype"], labels["shape"]) == ("LABEL", "BYTES", [len(texts)])
        assert (scores["name"], scores["datatype"], scores["shape"]) == ("SCORES", "FP32", [len(texts), 3])
        expected = native(mock_server, texts)
        if binary_out:
            size = labels["parameters"]["binary_data_size"]
            assert tensors[:size] == encode_strings([each["label"] for each in expected])
            assert scores["parameters"]["binary_data_size"] == len(tensors) - size
            values = np.frombuffer(tensors[size:], "<f4")
        else:
            assert labels["data"] == [each["label"] for each in expected]
            values = np.array(scores["data"])
        assert values == pytest.approx([score for each in expected for score in each["scores"].values()], abs=6e-5)

    def test_outputs_can_be_chosen(self, mock_server: Server) -> None:
        outputs = [{"name": "SCORES", "parameters": {"classification": 2, "binary_data": False}}, {"name": "LABEL"}]
        body = infer(["good"], outputs=outputs, parameters={"binary_data_output": True})
        response = post(mock_server, INFER, body)
        answer = json.loads(response.content[: int(response.headers["inference-header-content-length"])])
        scores, labels = answer["outputs"]
        assert (scores["name"], scores["shape"], scores["datatype"]) == ("SCORES", [1, 2], "BYTES")
        assert scores["data"][0] == "0.665241:2:positive"
        assert labels["parameters"] == {"binary_data_size": 4 + len("positive")}

    @pytest.mark.parametrize("names", [["LABEL", "LABEL"], ["OTHER"], [""]])
    def test_outputs_that_cannot_be_returned_are_refused(self, mock_server: Server, names: list[str]) -> None:
        response = post(mock_server, INFER, infer(["good"], outputs=[{"name": name} for name in names]))
        assert response.status_code == 422
        assert response.json()["error"].startswith("body.outputs.")

    @pytest.mark.parametrize(
        ("fields", "status", "error"),
        [
            ({"name": "OTHER"}, 422, "body.inputs.0.name: Input should be 'TEXT'"),
            ({"datatype": "FP32"}, 422, "body.inputs.0.datatype: Input should be 'BYTES'"),
            ({"shape": [2]}, 422, "body.inputs.0.data: the shape says 2 texts, but there are 1"),
            ({"shape": [1, 2]}, 422, "body.inputs.0.shape: expected [n] or [n, 1]"),
            ({"shape": []}, 422, "body.inputs.0.shape: "),
            ({"shape": [-1]}, 422, "body.inputs.0.shape.0: "),
            ({"shape": [300]}, 413, "body.inputs.0.shape: the list has more than 256 texts"),
            ({"data": [1]}, 422, "body.inputs.0.data.0: the text is not a string"),
            ({"data": [" "]}, 422, "body.inputs.0.data.0: the text has no visible character"),
            ({"data": None}, 422, "body.inputs.0: the input has no data"),
            ({"data": ["a"], "parameters": {"binary_data_size": 5}}, 422, "body.inputs.0: the input has both data and"),
            ({"data": None, "parameters": {"binary_data_size": 5}}, 400, "binary_data_size needs the header"),
        ],
    )
    def test_inputs_that_are_not_valid_are_refused(
        self, mock_server: Server, fields: dict[str, Any], status: int, error: str
    ) -> None:
        body = {"inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["good"]} | fields]}
        for padding in ("", " " * 5000):  # a large body has another parser
            response = post(mock_server, INFER, body | {"other": padding}, {})
            assert response.status_code == status, response.text
            assert response.json()["error"].startswith(error)

    @pytest.mark.parametrize("length", [1001, 5000, 200_000])
    def test_an_id_is_not_long(self, mock_server: Server, length: int) -> None:
        response = post(mock_server, INFER, infer(["good"], id="x" * length), {})
        assert response.status_code == 422
        assert response.json()["error"].startswith("body.id: String should have at most 1000 characters")

    def test_there_is_one_input(self, mock_server: Server) -> None:
        for inputs in ([], infer(["a"])["inputs"] * 2):
            response = post(mock_server, INFER, {"inputs": inputs})
            assert response.status_code == 422
            assert response.json()["error"].startswith("body.inputs: List should have at ")

    @pytest.mark.parametrize("length", ["0", "-1", "x", "1.5", "", "9" * 5000, "70000", "99"])
    def test_a_wrong_length_of_the_json_is_refused(self, mock_server: Server, length: str) -> None:
        response = post(mock_server, INFER, b"{}", {"Inference-Header-Content-Length": length})
        assert (response.status_code, list(response.json())) == (400, ["error"])

    @pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
    @pytest.mark.parametrize("repeat", [1, 2000])
    def test_compressed_bodies_are_read(self, mock_server: Server, compress: Any, repeat: int) -> None:
        encoding = "gzip" if compress is gzip.compress else "deflate"
        for content, headers in (binary(["good" * repeat]), (json.dumps(infer(["good" * repeat])).encode(), {})):
            compressed = compress(content)
            response = post(mock_server, INFER, compressed, headers | {"Content-Encoding": encoding})
            assert response.status_code == 200, response.text
            chunked = httpx.post(
                f"{mock_server.address}{INFER}",
                content=(compressed[place : place + 10] for place in range(0, len(compressed), 10)),
                headers=headers | {"Content-Encoding": encoding},
                timeout=30,
            )
            assert chunked.content == response.content

    def test_a_response_is_compressed_if_the_client_accepts_it(self, mock_server: Server) -> None:
        plain = post(mock_server, INFER, infer(["good"]), {"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for encoding in ("gzip", "deflate"):
            response = post(mock_server, INFER, infer(["good"]), {"Accept-Encoding": encoding})
            assert response.headers["content-encoding"] == encoding
            assert response.content == plain.content
            error = post(mock_server, INFER, infer([" "]), {"Accept-Encoding": encoding})
            assert "content-encoding" not in error.headers

    @pytest.mark.parametrize("headers", [{}, {"Inference-Header-Content-Length": "100"}])
    def test_a_bomb_is_refused_while_it_is_decompressed(self, headers: dict[str, str]) -> None:
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(1000)) + packer.flush()
        with serve(backend="mock") as server:
            before = peak_kib(server)
            response = post(server, INFER, bomb, headers | {"Content-Encoding": "gzip"})
            assert (response.status_code, list(response.json())) == (400 if headers else 413, ["error"])
            assert peak_kib(server) < before + 40 * 1024
            assert server.get("/livez").status_code == 200

    @pytest.mark.parametrize(("timeout", "status"), [(0, 200), (1, 504), (200_000, 504), (10**400, 200)])
    def test_the_timeout_is_in_microseconds(self, mock_server: Server, timeout: int, status: int) -> None:
        text = f"[slow] {timeout}" if status == 504 else "good"
        response = post(mock_server, INFER, infer([text], parameters={"timeout": timeout}), {})
        assert response.status_code == status, response.text

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v2/models/other", 404),
            ("/v2/models/other/ready", 404),
            ("/v2/models/mock/versions/2", 404),
            ("/v2/models/mock/versions/2/ready", 404),
            ("/v2/models/mock/versions/mock", 200),
            ("/v2/models/mock/versions/mock/ready", 200),
            ("/v2/models/mock%20/ready", 404),
            ("/v2/models", 404),
            ("/v2/", 404),
            ("/v2/models/mock/infer", 405),
        ],
    )
    def test_other_models_are_unknown(self, mock_server: Server, path: str, status: int) -> None:
        response = mock_server.get(path)
        assert response.status_code == status
        assert status == 200 or list(response.json()) == ["error"]

    def test_the_model_of_a_prediction_must_be_the_one_served(self, mock_server: Server) -> None:
        paths = ["/v2/models/other/infer", "/v2/models/mock/versions/2/infer", "/v2/models/mock/versions/mock/infer"]
        assert [post(mock_server, path, infer(["good"])).status_code for path in paths] == [404, 404, 200]


def peak_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def test_a_prediction_needs_a_key_with_the_right_scope(limited: tuple[Server, dict[str, str]], tmp_path: Path) -> None:
    server, headers = limited
    for path, body in (("/", {"inputs": "good"}), (INFER, infer(["good"]))):
        refused = post(server, path, body)
        assert (refused.status_code, list(refused.json())) == (401, ["error"])
        assert refused.headers["www-authenticate"] == "Bearer"
        assert post(server, path, body, JSON | {"X-API-Key": "wrong"}).status_code == 403
        assert post(server, path, body, headers).status_code == 200
    for path in ("/", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/mock", "/v2/models/mock/ready"):
        assert server.get(path).status_code == 200


def test_texts_of_all_protocols_count_against_the_rate(limited: tuple[Server, dict[str, str]]) -> None:
    server, headers = limited
    left = int(post(server, "/", {"inputs": "good"}, headers).headers["ratelimit-remaining"])
    assert left == int(post(server, INFER, infer(["good"] * 10), headers).headers["ratelimit-remaining"]) + 10
    assert left == int(post(server, "/", {"inputs": ["good"] * 20}, headers).headers["ratelimit-remaining"]) + 30
    assert server.get("/v2/models/mock/ready").status_code == 200
    too_many = post(server, "/", {"inputs": ["good"] * 256}, headers)
    while too_many.status_code == 200:
        too_many = post(server, "/", {"inputs": ["good"] * 256}, headers)
    assert (too_many.status_code, list(too_many.json())) == (429, ["error"])
    assert int(too_many.headers["retry-after"]) >= 1


def test_metrics_and_logs_name_the_route_and_never_the_path(mock_server: Server) -> None:
    for path in ("/v2/models/secret-person/infer", "/v2/secret-person", INFER):
        post(mock_server, path, infer(["good"]))
    metrics = mock_server.get("/metrics").text
    assert 'handler="/v2/models/{name}/infer",method="POST",status="200"' in metrics
    assert 'handler="/v2/models/{name}/infer",method="POST",status="404"' in metrics
    assert "secret-person" not in metrics + mock_server.log.read_text()


def test_each_protocol_can_be_switched_off() -> None:
    with serve(backend="mock", huggingface="off", open_inference="off", page="off") as server:
        off = post(server, "/", {"inputs": "good"})
        assert (off.status_code, off.headers["allow"]) == (405, "GET, HEAD")
        assert off.headers["content-type"] == "application/problem+json"
        assert server.get("/").status_code == 307
        assert post(server, INFER, infer(["good"])).status_code == 404
        assert server.get("/v2/health/live").status_code == 404
        paths = server.get("/openapi.json").json()["paths"]
        assert "post" not in paths["/"]
        assert not any(path.startswith("/v2") for path in paths)


def test_without_a_model_the_protocols_say_so() -> None:
    with serve(wait="listening", backend="mock", prelude=LOADS_FOREVER) as server:  # fmt: skip
        assert server.get("/v2/health/live").json() == {"live": True}
        answers = [server.get(path) for path in ("/v2/health/ready", "/v2/models/mock", "/v2/models/mock/ready")]
        answers += [post(server, "/", {"inputs": "good"}), post(server, INFER, infer(["good"]))]
        for answer in answers:
            assert (answer.status_code, answer.json()) == (503, {"error": "the model is loading"})
            assert answer.headers["retry-after"] == "1"
        server.process.kill()
