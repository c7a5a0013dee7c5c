"""`score --url`: lists over HTTP, with retries."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.cli.exits import Failure
from app.cli.score import remote
from app.cli.score.answers import result_of
from app.cli.score.remote import Server, ServerScorer
from tests.support.answers import INFO, answering, predictions
from tests.support.command import last_line, read_jsonl, score
from tests.support.process import serve


@contextmanager
def connected(url: str, give_up_s: float = 300.0) -> Iterator[ServerScorer]:
    scorer = ServerScorer(Server(url, give_up_s=give_up_s), "truncate", 1)
    try:
        yield scorer
    finally:
        scorer.cancel()


def test_a_server_scores_as_the_model_does(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"{word} {n}\n" for n in range(30) for word in ("good", "bad", "[fail]")))
    with (tmp_path / "in.txt").open("a") as stream:
        stream.write("\n  \nso good 😀\n" + "good " * 1000 + "\n")
    with serve(backend="mock", max_text_chars="3000") as server:
        assert score(tmp_path / "in.txt", "--url", server.address, "-o", tmp_path / "a.jsonl") == 3
    assert score(tmp_path / "in.txt", "-o", tmp_path / "b.jsonl") == 3
    remote_rows, rows = read_jsonl(tmp_path / "a.jsonl"), read_jsonl(tmp_path / "b.jsonl")
    assert len(rows) == 94
    for one, other in zip(remote_rows[:-1], rows[:-1], strict=True):
        assert {**one, "error": bool(one["error"])} == {**other, "error": bool(other["error"])}
    assert remote_rows[-1]["error"]  # only a server has this limit
    assert rows[-1]["truncated"]


def test_shallow_answers_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def shallow(body: dict[str, Any]) -> Any:
        rows = predictions(body)["predictions"]
        return {"predictions": [*rows[:-1], rows[-1] | {"shallow": True}]}

    pauses: list[float] = []
    with answering((200, shallow), (200, predictions)) as (url, bodies), connected(url) as scorer:
        monkeypatch.setattr(scorer._server._stopped, "wait", pauses.append)
        assert len(scorer.score(["a", "b"])) == 2
        assert len(bodies) == 2
    assert len(pauses) == 1
    failure = pytest.raises(Failure, match="overloaded, and gives shallow answers")
    with answering((200, shallow)) as (url, _), connected(url, give_up_s=0.0) as scorer, failure:
        scorer.score(["a", "b"])


def test_overload_is_tried_again_after_the_stated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with (
        answering((429, {}), (503, {}), (200, predictions), headers={"Retry-After": "7"}) as (url, bodies),
        connected(url) as scorer,
    ):
        monkeypatch.setattr(scorer._server._stopped, "wait", pauses.append)
        assert len(scorer.score(["a", "b"])) == 2
    assert pauses == [7.0, 7.0]
    assert bodies[0] == {"texts": ["a", "b"], "partial": True, "long_text": "truncate"}


def test_a_broken_connection_is_tried_again() -> None:
    with answering((0, None), (502, "no"), (200, predictions)) as (url, bodies), connected(url) as scorer:
        assert scorer.score(["a"])[0].label == "positive"  # type: ignore[union-attr]
    assert len(bodies) == 3


def test_a_list_that_is_too_large_is_sent_in_halves() -> None:
    with answering((413, {}), (504, {}), (200, predictions)) as (url, bodies), connected(url) as scorer:
        assert len(scorer.score(["a", "b", "c", "d"])) == 4
    assert [len(body["texts"]) for body in bodies] == [4, 2, 1, 1, 2]
    with answering((413, {"detail": "too large"})) as (url, _), connected(url) as scorer:
        assert scorer.score(["a", "b"]) == ["too large"] * 2


def test_half_a_surrogate_pair_does_not_spoil_its_list() -> None:
    with answering((200, predictions)) as (url, bodies), connected(url) as scorer:
        scorer.score(["good \ud83d", "bad"])
    assert bodies[0]["texts"] == ["good ", "bad"]


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [(401, {"detail": "an API key is required"}, "an API key is required"), (404, {"detail": "no"}, "404 no")],
)
def test_what_cannot_get_better_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, answer: Any, message: str
) -> None:
    (tmp_path / "in.txt").write_text("good\n")
    with answering((status, answer)) as (url, _):
        assert score(tmp_path / "in.txt", "--url", url, "-o", tmp_path / "out.csv") in (1, 2)
    assert message in last_line(capsys)
    assert not (tmp_path / "out.csv").exists()


def test_a_server_that_does_not_come_back_ends_the_run() -> None:
    with (
        answering((503, {"detail": "draining"})) as (url, _),
        connected(url, give_up_s=0.3) as scorer,
        pytest.raises(Failure, match="503 draining"),
    ):
        scorer.score(["a"])


def test_a_server_whose_model_fails_at_everything_ends_the_run() -> None:
    failed = {"error": {"status": 500, "detail": "the model failed on this text"}}
    with (
        answering((200, {"predictions": [failed] * 40})) as (url, _),
        connected(url) as scorer,
        pytest.raises(Failure, match="the model fails at every text"),
    ):
        scorer.score(["a"] * 40)


def test_an_address_without_our_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure, match="expected http://"):
        Server("ftp://host")
    monkeypatch.delitem(INFO, "labels")
    with answering((200, {})) as (url, _), pytest.raises(Failure, match="no rt-sentiment server answers there"):
        ServerScorer(Server(url), "truncate", 1)


def test_the_key_is_sent_and_the_address_has_no_password() -> None:
    server = Server("http://user:secret@127.0.0.1:1/prefix/", "rts_key")
    assert server.url == "http://127.0.0.1:1/prefix"
    assert server._headers["Authorization"] == "Bearer rts_key"
    assert result_of({"error": {"status": 422, "detail": "why"}}) == "why"


def test_a_model_that_no_version_serves_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [{"version": "n@1", "share": 0.0, "labels": ["a", "b"]}]
    monkeypatch.setattr(remote, "fetch_models", lambda _: {"models": [{"name": "n", "versions": versions}]})
    with answering((200, predictions)) as (url, _), pytest.raises(Failure, match="no version of n is ready"):
        ServerScorer(Server(url), "truncate", 1, "n")


def test_a_named_model_is_described_by_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    version = {"backend": "onnx", "precision": "int8", "checksum": "sha256:1", "manifest": "2", "share": 0.5}
    versions = [version | {"version": f"n@{label}", "labels": ["a", label]} for label in "bc"]
    monkeypatch.setattr(remote, "fetch_models", lambda _: {"models": [{"name": "n", "versions": versions}]})
    with answering((200, predictions)) as (url, bodies):
        scorer = ServerScorer(Server(url), "window", 1, "n")
        scorer.score(["x"])
        scorer.cancel()
    assert scorer.labels == ["a", "b", "c"]
    assert scorer.description["model"] == "n@b sha256:1, n@c sha256:1"
    assert scorer.description["backend"] == "onnx int8"
    assert scorer.description["exits"] == ["2", "2"]
    assert bodies == [{"texts": ["x"], "partial": True, "long_text": "window", "model": "n"}]
