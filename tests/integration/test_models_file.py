"""Real servers follow a models file: versions come and go, and no request is lost or mixed."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.artifacts import sign
from tests.support.artifacts import key_pair
from tests.support.process import Server, serve
from tests.support.versions import write_models, write_text, write_version
from tests.support.waiting import HANG_S, until

TEXTS = ["I love it", "I hate it", "the table is brown"]
QUICK = {"models_poll_s": "0.05", "slots": "1"}
CALLERS = 100


def versions(server: Server, name: str = "m") -> dict[str, dict[str, Any]]:
    """The versions of a model by the last part of their source; of several, the last one."""
    response = server.get(f"/models/{name}")
    found = response.json()["versions"] if response.status_code == 200 else []
    return {each["source"].rpartition("/")[2]: each for each in found}


def states(server: Server, name: str = "m") -> dict[str, tuple[str, float]]:
    return {source: (each["state"], each["share"]) for source, each in versions(server, name).items()}


def wait_for(server: Server, name: str = "m", **expected: tuple[str, float]) -> None:
    """Wait until a model has these versions, each with its state and share, and no others."""
    until(
        lambda: states(server, name) == expected,
        on_timeout=lambda: f"{states(server, name)}\n{server.log.read_text()}",
    )


def label(server: Server, body: dict[str, Any] | None = None, path: str = "/predict") -> str:
    """The first part of the label that a text gets, which names the version that answered."""
    response = server.post({"text": "I love it", **(body or {})}, path)
    assert response.status_code == 200, response.text
    return str(response.json()["label"]).partition(" ")[0]


class Clients:
    """Clients that send lists until they are stopped, and count what they get."""

    def __init__(self, server: Server, count: int = 3) -> None:
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.mixed: list[tuple[str, list[str]]] = []
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with self._server.client() as client:
            count = 0
            while not self._over.is_set():
                count += 1
                texts = [f"{text} {number} {count}" for text in TEXTS]
                response = client.post("/predict/batch", json={"texts": texts})
                self.statuses[response.status_code] += 1
                if response.status_code == 200:
                    self._check(response.headers["X-Model"], response.json()["predictions"])

    def _check(self, model: str, predictions: list[dict[str, Any]]) -> None:
        names = [each["label"].partition(" ")[0] for each in predictions]
        self.versions[model] += 1
        if {f"m@{name}" for name in names} != {model}:
            self.mixed.append((model, names))

    def wait_for(self, model: str) -> None:
        """Wait until a version has answered some more requests."""
        before = self.versions[model]
        until(lambda: self.versions[model] > before + 3)


def test_versions_are_swapped_under_load_without_a_lost_or_mixed_answer(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write_version(tmp_path / name, name)
    file = write_models(tmp_path / "models.yaml", m={"one": 100})
    with serve(models_file=str(file), **QUICK) as server, Clients(server) as clients:
        clients.wait_for("m@one")
        write_models(file, m={"two": 100})
        clients.wait_for("m@two")
        wait_for(server, two=("ready", 1.0))
        write_models(file, m={"two": 50, "three": 50})
        clients.wait_for("m@three")
        wait_for(server, two=("ready", 0.5), three=("ready", 0.5))
        write_models(file, m={"two": 0, "three": 100})
        wait_for(server, two=("ready", 0.0), three=("ready", 1.0))
        loaded = len(server.events("model loaded"))
        write_models(file, m={"two": 100, "three": 0})  # a rollback loads nothing
        wait_for(server, two=("ready", 1.0), three=("ready", 0.0))
        assert len(server.events("model loaded")) == loaded == 3
        write_version(tmp_path / "two", "again")  # the same place with new files
        clients.wait_for("m@again")
        wait_for(server, two=("ready", 1.0), three=("ready", 0.0))
    assert {*clients.statuses} == {200}
    assert clients.mixed == []
    assert clients.versions.keys() == {"m@one", "m@two", "m@three", "m@again"}


def test_a_corrupt_a_drifting_and_a_too_large_version_are_refused_and_heal(tmp_path: Path) -> None:
    write_version(tmp_path / "old", "old")
    corrupt = write_version(tmp_path / "corrupt", "corrupt")
    (corrupt / "tokenizer.json").write_text((corrupt / "tokenizer.json").read_text() + " ")
    write_version(tmp_path / "drifting", "drifting", golden=False)
    large = write_version(tmp_path / "large", "large")
    os.truncate(large / "model_int8.onnx", 40_000_000_000)  # it takes no room on the disk
    file = write_models(tmp_path / "models.yaml", m={"old": 100})
    with serve(models_file=str(file), memory_limit_bytes=str(4 * 10**9), backend="onnx", **QUICK) as server:
        for name, reason in (
            ("corrupt", "tokenizer.json"),
            ("drifting", "0 of 48 golden texts (0%) got the answer that the model was published with"),
            ("large", "needs about 120,0"),
        ):
            write_models(file, m={name: 100})
            wait_for(server, old=("ready", 1.0), **{name: ("failed", 0.0)})
            assert reason in versions(server)[name]["reason"]
            assert label(server) == "old"
            assert server.get("/readyz").status_code == 200
        write_models(file, m={"corrupt": 100})
        wait_for(server, old=("ready", 1.0), corrupt=("failed", 0.0))
        write_version(corrupt, "healed")
        wait_for(server, corrupt=("ready", 1.0))
        assert label(server) == "healed"


def test_a_version_without_a_signature_is_refused_where_keys_are_set(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    signed = write_version(tmp_path / "signed", "signed")
    sign(signed, private)
    unsigned = write_version(tmp_path / "unsigned", "unsigned")
    file = write_models(tmp_path / "models.yaml", m={"signed": 90, "unsigned": 10})
    with serve(models_file=str(file), models_keys=str(public), **QUICK) as server:
        wait_for(server, signed=("ready", 1.0), unsigned=("failed", 0.0))
        assert "is not signed" in versions(server)["unsigned"]["reason"]
        assert {label(server) for _ in range(10)} == {"signed"}
        sign(unsigned, private)
        manifest = unsigned / "manifest.json"
        write_text(manifest, manifest.read_text())
        wait_for(server, signed=("ready", 0.9), unsigned=("ready", 0.1))


@pytest.fixture
def mocks(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models.yaml", m={"a": 100}, other={"b": 100})


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = write_models(tmp_path_factory.mktemp("models") / "models.yaml", m={"a": 100}, other={"b": 100})
    with serve(backend="mock", models_file=str(file), open_inference="true", **QUICK) as server:
        wait_for(server, "other", b=("ready", 1.0))
        yield server


class TestFile:
    """With the mock backend, to which every source is the same model."""

    def test_models_and_versions_come_and_go_with_the_file(self, mocks: Path) -> None:
        with serve(backend="mock", models_file=str(mocks), **QUICK) as server:
            wait_for(server, "other", b=("ready", 1.0))
            assert server.post({"text": "good"}).headers["X-Model"] == "m@mock"
            write_models(mocks, other={"b": 100}, m={"a": 90, "c": 10})
            until(lambda: server.post({"text": "good"}).headers["X-Model"] == "other@mock")
            wait_for(server, a=("ready", 0.9), c=("ready", 0.1))
            assert [each["name"] for each in server.get("/models").json()["models"]] == ["other", "m"]
            write_models(mocks, other={"b": 100}, m={"c": 100})
            wait_for(server, c=("ready", 1.0))
            write_models(mocks, other={"b": 100})
            until(lambda: server.get("/models/m").status_code == 404)
            assert server.post({"text": "good", "model": "m"}).status_code == 404

    def test_a_file_that_becomes_invalid_changes_nothing_and_is_reported_once(self, mocks: Path) -> None:
        event = "models file not usable, the models stay as they are"
        with serve(backend="mock", models_file=str(mocks), **QUICK) as server:
            write_text(mocks, "models: [\n")
            assert "models.yaml, line" in server.wait_for(event)["reason"]
            assert server.post({"text": "good"}).status_code == 200
            mocks.unlink()
            server.wait_for(event, reason=f"{mocks}: No such file or directory")
            write_models(mocks, m={"new": 100})
            wait_for(server, new=("ready", 1.0))
            assert len(server.events(event)) == 2
            assert server.post({"text": "good"}).status_code == 200

    def test_a_file_of_a_config_map_is_followed(self, tmp_path: Path) -> None:
        def publish(number: int, **models: dict[str, Any]) -> None:
            """Replace all files at once, as Kubernetes does."""
            (tmp_path / f"..{number}").mkdir()
            write_models(tmp_path / f"..{number}" / "models.yaml", **models)
            (tmp_path / "..data_tmp").symlink_to(f"..{number}")
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")

        publish(1, m={"a": 100})
        (tmp_path / "models.yaml").symlink_to("..data/models.yaml")
        with serve(backend="mock", models_file=str(tmp_path / "models.yaml"), **QUICK) as server:
            wait_for(server, a=("ready", 1.0))
            publish(2, m={"b": 100})
            wait_for(server, b=("ready", 1.0))

    @pytest.mark.parametrize(
        "ask",
        [
            lambda server: server.post({"text": "good", "model": "sec-ret"}),
            lambda server: server.post({"texts": ["good"], "model": "sec-ret"}, "/predict/batch"),
            lambda server: httpx.post(
                f"{server.address}/predict/stream?model=sec-ret",
                content=b'{"text": "good"}\n',
                headers={"content-type": "application/x-ndjson"},
                timeout=HANG_S,
            ),
            lambda server: server.get("/models/sec-ret"),
            lambda server: server.get("/v2/models/sec-ret"),
            lambda server: server.post(
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}]},
                "/v2/models/sec-ret/infer",
            ),
        ],
        ids=["body", "list", "stream", "status", "OIP metadata", "OIP"],
    )
    def test_an_unknown_model_is_404_and_not_repeated(self, two_models: Server, ask: Callable[[Server], Any]) -> None:
        response = ask(two_models)
        assert response.status_code == 404, response.text
        assert "sec-ret" not in response.text
        assert "this server has m, other" in response.text

    @pytest.mark.parametrize("path", ["/models/sec-ret/predict", "/models/sec-ret/predict/batch"])
    def test_an_unknown_model_in_a_path_is_404_and_not_repeated(self, two_models: Server, path: str) -> None:
        response = two_models.post({"text": "good"} if path.endswith("predict") else {"texts": ["good"]}, path)
        assert response.status_code == 404
        assert "sec-ret" not in response.text

    def test_two_workers_follow_the_same_file(self, mocks: Path) -> None:
        def answers(name: str) -> Counter[int]:
            return Counter(server.get(f"/models/{name}").status_code for _ in range(20))

        with serve(backend="mock", models_file=str(mocks), workers="2", **QUICK) as server:
            until(lambda: answers("other") == {200: 20})
            write_models(mocks, m={"a": 100}, new={"c": 100})
            until(lambda: (answers("other"), answers("new")) == ({404: 20}, {200: 20}))
            assert {server.post({"text": "good", "model": "new"}).status_code for _ in range(10)} == {200}

    def test_a_canary_that_fails_too_often_is_rolled_back(self, mocks: Path) -> None:
        write_models(mocks, m={"a": 50, "b": 50})
        prelude = (
            "import app.serving.follower, app.serving.canary\n"
            "app.serving.follower._CANARY_POLL_S = 0.05\napp.serving.canary._LEAST_FOR_ERRORS = 20\n"
            "import app.models\nload = app.models.load_model\n"
            "def load_model(source, **options):\n"
            "    rate = 1.0 if source.endswith('b') else 0.0\n"
            "    return load(source, **(options | {'mock_failure_rate': rate}))\n"
            "app.models.load_model = load_model\n"
            "import app.serving.breaker\napp.serving.breaker._FAILURES = 10**9\n"
        )
        with serve(
            backend="mock", models_file=str(mocks), canary_max_error_rate="0.1", prelude=prelude, **QUICK
        ) as server:
            wait_for(server, a=("ready", 0.5), b=("ready", 0.5))
            with server.client() as client:
                for number in range(CALLERS):
                    assert client.post("/predict", json={"text": f"good {number}"}).status_code in (200, 500)
                wait_for(server, a=("ready", 1.0), b=("failed", 0.0))
                assert "rolled back: 100.0% of its newest" in versions(server)["b"]["reason"]
                for number in range(CALLERS):
                    assert client.post("/predict", json={"text": f"bad {number}"}).status_code == 200
            assert len(server.events("version failed")) == 1
