"""The catalogue of peers is correct, and each installed peer gives the predictions of the model."""

import functools
import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from perf.load.server import running
from perf.peers.catalogue import PEERS, Peer
from perf.peers.environment import installed, python
from perf.peers.model import Model
from tests.support.process import ROOT, serve
from tests.support.waiting import HANG_S

# No text is close to a decision: rounding, which differs from server to server, does not change its label.
THINGS = "film book phone hotel meal story battery delivery concert teacher".split()
TEXTS = [
    f"The {thing} was {verdict}"
    for thing in THINGS
    for verdict in ("wonderful, and we will gladly come back for more of it.", "awful.")
]


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return [prediction["label"] for prediction in map(Model().predict_one, TEXTS)]


def test_the_shared_model_predicts_what_the_service_predicts(labels: list[str]) -> None:
    assert {"negative", "positive"} <= set(labels)
    with serve() as server, server.client() as client:
        response = client.post("/predict/batch", json={"texts": TEXTS}).raise_for_status()
    assert [prediction["label"] for prediction in response.json()["predictions"]] == labels


def test_a_batch_gets_the_predictions_of_its_texts() -> None:
    model = Model()
    together, alone = model.predict(TEXTS), [model.predict_one(text) for text in TEXTS]
    assert [prediction["label"] for prediction in together] == [prediction["label"] for prediction in alone]
    assert [prediction["confidence"] for prediction in together] == pytest.approx(
        [prediction["confidence"] for prediction in alone], abs=0.05
    )
    assert len(model.predict(["x " * 2000])) == 1  # truncated to the maximum length


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_the_catalogue_is_consistent(peer: Peer) -> None:
    source = ROOT / "perf" / "peers" / f"{peer.name}_server.py"
    assert f"perf.peers.{source.stem}" in " ".join(peer.arguments)
    assert "https://" in source.read_text().split('"""')[1]  # links to its documentation
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,]+])?==[\w.]+", requirement) for requirement in peer.requirements)
    assert json.loads(json.dumps(peer.body('so "good"\n'))) == peer.body('so "good"\n')
    assert peer.path.startswith("/")
    assert peer.command("/bin/python", 8123)[:1] == ["/bin/python"]
    assert peer.command("/bin/python", 8123)[-1] == "8123"


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_response_without_a_label_is_recognised(peer: Peer) -> None:
    responses = ({}, [], None, "negative", {"label": "LABEL_0"}, {"detail": "busy"}, {"data": []}, {"data": [[]]}, [{}])
    assert not any(peer.has_label(response) for response in responses)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_answers_concurrent_requests_like_the_model(peer: Peer, labels: list[str]) -> None:
    if not installed(peer):
        pytest.skip(f"{peer.name} is not installed: python -m perf.peers.environment {peer.name}")
    command = functools.partial(peer.command, python(peer))
    with (
        running(command, path=peer.path, body=peer.body("good"), environment=peer.environment) as address,
        httpx.Client(base_url=address, timeout=HANG_S, trust_env=False) as client,
        ThreadPoolExecutor(len(TEXTS)) as pool,
    ):
        responses = list(pool.map(lambda text: client.post(peer.path, json=peer.body(text)), TEXTS))
    assert {response.status_code for response in responses} == {200}
    bodies = [response.json() for response in responses]
    assert all(peer.has_label(body) for body in bodies)
    assert [peer.label(body) for body in bodies] == labels
    with pytest.raises(httpx.TransportError):
        httpx.get(address, trust_env=False)
