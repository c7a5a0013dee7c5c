"""POST /predict and /predict/batch, over a real socket."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.gate import Gate
from tests.support.process import Server, serve

FIELDS = ["label", "confidence", "scores", "truncated"]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def mock(mock_server: Server) -> Iterator[httpx.Client]:
    with mock_server.client() as client:
        yield client


class TestPredict:
    @pytest.mark.parametrize(
        ("text", "label"),
        [
            ("An instant classic, if you ask me.", "positive"),
            ("I want my money back.", "negative"),
            ("The shop opens at nine.", "neutral"),
        ],
    )
    def test_a_text_gets_its_label_and_all_scores(self, http: httpx.Client, text: str, label: str) -> None:
        response = http.post("/predict", json={"text": text})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        assert list(body) == FIELDS
        assert body["label"] == label
        assert list(body["scores"]) == ["negative", "neutral", "positive"]
        assert sum(body["scores"].values()) == pytest.approx(1, abs=2e-4)
        assert body["confidence"] == max(body["scores"].values()) == body["scores"][label]
        assert body["truncated"] is False

    def test_a_repeated_text_is_a_hit_with_the_same_answer(self, http: httpx.Client) -> None:
        first = http.post("/predict", json={"text": "The soup was cold again."})
        second = http.post("/predict", json={"text": " The soup  was cold again.\n"})
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
        assert first.json() == second.json()

    @pytest.mark.parametrize("top_k", [1, 2, 3, 99])
    def test_top_k_keeps_the_best_labels_in_the_models_order(self, http: httpx.Client, top_k: int) -> None:
        body = http.post("/predict", json={"text": "I love it", "top_k": top_k}).json()
        every = http.post("/predict", json={"text": "I love it"}).json()["scores"]
        best = sorted(every, key=lambda label: -every[label])[:top_k]
        assert list(body["scores"].items()) == [item for item in every.items() if item[0] in best]

    def test_a_text_over_the_token_limit_is_truncated_or_refused(self, http: httpx.Client) -> None:
        text = "lovely " * 600
        assert http.post("/predict", json={"text": text}).json()["truncated"] is True
        refused = http.post("/predict", json={"text": text, "truncate": False})
        assert refused.status_code == 413
        assert "512 tokens" in refused.json()["detail"]
        assert http.post("/predict", json={"text": "lovely", "truncate": False}).status_code == 200

    def test_server_timing_lists_the_stages(self, http: httpx.Client) -> None:
        response = http.post("/predict", json={"text": "A text that was not sent before."})
        stages = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
        assert list(stages) == ["tokenize", "queue", "infer", "total"]
        times = {name: float(ms) for name, ms in stages.items()}
        assert times["infer"] > 0
        assert times["total"] >= times["tokenize"] + times["queue"] + times["infer"] - 0.05

    def test_text_in_any_script_is_answered(self, http: httpx.Client) -> None:
        for text in ("Größe", "素晴らしい", "😀😀😀", "مرحبا", "\u0000a", "a\u202eb", "`^~"):
            response = http.post("/predict", json={"text": text})
            assert response.status_code == 200, text


class TestModelHeader:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/predict", {"text": "good"}),
            ("/predict", {"text": "so good", "explain": True}),
            ("/predict/batch", {"texts": ["good", "bad"]}),
            ("/predict/batch", {"texts": ["good", " "], "partial": True}),
        ],
    )
    def test_predictions_name_their_model(self, http: httpx.Client, path: str, body: dict[str, object]) -> None:
        info = http.get("/info").json()
        response = http.post(path, json=body)
        assert response.headers["x-model"] == f"{info['model']}@{info['model_version']}"

    def test_other_responses_name_no_model(self, http: httpx.Client) -> None:
        others = [http.post("/predict", json={"text": " "}), http.get("/info"), http.get("/livez")]
        assert not any("x-model" in response.headers for response in others)


class TestBatch:
    def test_predictions_are_in_the_order_of_the_texts(self, http: httpx.Client) -> None:
        texts = ["What a joy.", "Dreadful.", "It is Monday.", "What a joy."]
        response = http.post("/predict/batch", json={"texts": texts})
        assert response.status_code == 200
        predictions = response.json()["predictions"]
        assert [prediction["label"] for prediction in predictions] == ["positive", "negative", "neutral", "positive"]
        assert predictions[0] == predictions[3]
        assert list(predictions[0]) == FIELDS

    def test_a_full_list_of_mixed_lengths_is_answered(self, http: httpx.Client) -> None:
        texts = [f"Number {index} is {'very ' * (index % 40)}good." for index in range(256)]
        response = http.post("/predict/batch", json={"texts": texts, "top_k": 1})
        assert response.status_code == 200
        assert len(response.json()["predictions"]) == 256
        assert all(len(prediction["scores"]) == 1 for prediction in response.json()["predictions"])

    def test_one_failing_text_fails_its_list(self, mock: httpx.Client) -> None:
        assert mock.post("/predict/batch", json={"texts": ["good", "bad [fail]"]}).status_code == 500
        assert mock.post("/predict/batch", json={"texts": ["good", "bad"]}).status_code == 200


BAD = [
    # body, content type, status, location of the error, a part of its message
    (b"{", "application/json", 400, None, "JSON"),
    (b"", "application/json", 400, None, "JSON"),
    (b'{"text": "\xff"}', "application/json", 400, None, "JSON"),
    (b'{"text": "\\ud800"}', "application/json", 400, None, "incomplete escape or surrogate pair, at line 1 column 17"),
    (b'{"text":\n"a" "b"}', "application/json", 400, None, "not valid JSON, at line 2 column 5"),
    (b"[" * 100_000, "application/json", 400, None, "JSON"),
    (b'{"text": "a"}', "text/plain", 415, None, "application/json"),
    (b"text=a", "application/x-www-form-urlencoded", 415, None, "application/json"),
    (b"{}", "application/json", 422, ["body", "text"], "required"),
    (b"[]", "application/json", 422, ["body"], ""),
    (b"null", "application/json", 422, ["body"], ""),
    (b'{"text": 5}', "application/json", 422, ["body", "text"], "string"),
    (b'{"text": null}', "application/json", 422, ["body", "text"], "string"),
    (b'{"text": ""}', "application/json", 422, ["body", "text"], "1 character"),
    (b'{"text": " \\u200b "}', "application/json", 422, ["body", "text"], "visible"),
    (b'{"text": "a", "top_k": 0}', "application/json", 422, ["body", "top_k"], "1"),
    (b'{"text": "a", "top_k": "2"}', "application/json", 422, ["body", "top_k"], "integer"),
    (b'{"text": "a", "truncate": "no"}', "application/json", 422, ["body", "truncate"], "boolean"),
    (
        b'{"text": "a", "secret words": 1}',
        "application/json",
        422,
        ["body"],
        "expected explain, long_text, model, text, top_k, truncate",
    ),
]


@pytest.mark.parametrize(("body", "content_type", "status", "loc", "word"), BAD)
def test_a_bad_body_gets_a_clear_error(
    http: httpx.Client, body: bytes, content_type: str, status: int, loc: list[str] | None, word: str
) -> None:
    response = http.post("/predict", content=body, headers={"content-type": content_type})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert word in json.dumps(problem)
    assert "secret words" not in response.text
    assert ("errors" in problem) == (status == 422)
    if loc is not None:
        assert problem["errors"][0]["loc"] == loc


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"texts": []}, 422, "body.texts"),
        ({"texts": ["a", ""]}, 422, "body.texts.1"),
        ({"texts": ["a", "b", " \n"]}, 422, "body.texts.2"),
        ({"texts": ["a", 3]}, 422, "body.texts.1"),
        ({"texts": "abc"}, 422, "body.texts"),
        ({"texts": ["a"] * 257}, 413, "the list has more than 256 texts"),
        ({"texts": ["a", "b" * 10_001]}, 413, "body.texts.1: the text has more than 10000 characters"),
        ({"texts": ["a", "b " * 2000], "truncate": False}, 413, "body.texts.1: the text has more"),
    ],
)
def test_an_error_in_a_list_names_the_place(http: httpx.Client, body: object, status: int, detail: str) -> None:
    response = http.post("/predict/batch", json=body)
    assert response.status_code == status
    assert detail in response.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_request_to_upgrade_the_protocol_is_ignored(http: httpx.Client, path: str) -> None:
    """Java's HTTP client sends one with each request, and so does curl --http2."""
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQ"}
    for number in range(2):  # on one connection
        response = http.post(path, json={"text": f"good {number}"} | {}, headers=headers)
        if path == "/predict":
            assert (response.status_code, response.json()["label"]) == (200, "positive")
        else:
            assert response.status_code == 422
    assert http.get("/livez", headers=headers).status_code == 200


class TestLimits:
    def test_a_text_over_the_limit_of_characters_gets_413(self, http: httpx.Client) -> None:
        assert http.post("/predict", json={"text": "a" * 10_000}).status_code == 200
        assert http.post("/predict", json={"text": "a" * 10_001}).status_code == 413

    def test_a_body_over_the_limit_gets_413_with_or_without_a_length(self, http: httpx.Client) -> None:
        big = b'{"text": "' + b"a" * 5_000_000 + b'"}'
        headers = {"content-type": "application/json"}
        assert http.post("/predict", content=big, headers=headers).status_code == 413
        chunks = (big[start : start + 100_000] for start in range(0, len(big), 100_000))
        assert http.post("/predict", content=chunks, headers=headers).status_code == 413

    def test_a_compressed_body_gets_415(self, http: httpx.Client) -> None:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert http.post("/predict", content=b"x", headers=headers).status_code == 415

    def test_a_million_errors_get_a_short_response(self, http: httpx.Client) -> None:
        headers = {"content-type": "application/json"}
        numbers = b'{"texts": [' + b"1," * 1_500_000 + b"1]}"
        unknown = b"{" + b",".join(b'"%x": 1' % number for number in range(200_000)) + b"}"
        for body, status in ((numbers, 413), (unknown, 422)):
            response = http.post("/predict/batch", content=body, headers=headers)
            assert response.status_code == status
            assert len(response.content) < 2000

    @pytest.mark.parametrize("opening", [b"[", b'{"text":'])
    def test_deeply_nested_json_is_refused(self, http: httpx.Client, opening: bytes) -> None:
        headers = {"content-type": "application/json"}
        for body in (opening * 400_000, b'{"texts": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"):
            assert http.post("/predict/batch", content=body, headers=headers).status_code in (400, 422)

    def test_the_body_of_a_single_text_has_a_lower_limit(self, http: httpx.Client) -> None:
        headers = {"content-type": "application/json"}
        padded = b'{"text": "a"' + b" " * 200_000 + b"}"
        assert http.post("/predict", content=padded, headers=headers).status_code == 413
        escaped = json.dumps({"text": "\U0001f600" * 10_000})
        assert len(escaped) > 120_000
        assert http.post("/predict", content=escaped, headers=headers).status_code == 200


class TestDeadlines:
    def test_a_request_past_its_deadline_gets_504_while_the_model_still_runs(self, gate: Gate) -> None:
        with serve(backend="mock", prelude=gate.before_runs) as server:
            response = server.post({"text": "a"}, headers={"x-request-timeout-ms": "50"})
            assert response.status_code == 504
            gate.open()

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "", "٣"])
    def test_a_deadline_that_is_not_a_positive_integer_gets_422(self, mock: httpx.Client, value: str) -> None:
        headers = [(b"x-request-timeout-ms", value.encode())]
        response = mock.post("/predict", json={"text": "a"}, headers=headers)  # type: ignore[arg-type]
        assert response.status_code == 422
        assert response.json()["errors"][0]["loc"] == ["header", "X-Request-Timeout-Ms"]

    def test_a_deadline_over_the_servers_timeout_is_accepted(self, mock: httpx.Client) -> None:
        headers = {"x-request-timeout-ms": "9" * 30}
        assert mock.post("/predict", json={"text": "a"}, headers=headers).status_code == 200


def test_a_failing_model_is_a_500_without_internal_details(mock: httpx.Client, mock_server: Server) -> None:
    for word in ("[fail]", "[nan]"):
        response = mock.post("/predict", json={"text": f"good {word} confidential"})
        assert response.status_code == 500
        assert response.json()["detail"] == "the server failed to answer this request"
    failures = mock_server.events("prediction failed")
    assert {failure["error"] for failure in failures} == {"RuntimeError", "BackendError"}
    assert "confidential" not in mock_server.log.read_text()
