"""The servers of other projects: what the catalogue says of them is true, and each one here answers like the model."""

import functools
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from perf.load.server import running
from perf.peers.catalogue import PEERS, Peer
from perf.peers.environment import InstallError, create, install, installed, python, up_to_date
from perf.peers.model import Model
from tests.support.process import ROOT, serve

# An answer moves a little with the batch that a text is in (int8 scales are the batch's): none of these is close.
THINGS = "film book phone hotel meal story battery delivery concert teacher".split()
TEXTS = [
    f"The {thing} was {verdict}"
    for thing in THINGS
    for verdict in ("wonderful, and we will gladly come back for more of it.", "awful.")
]


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return [answer["label"] for answer in map(Model().predict_one, TEXTS)]


def test_the_shared_model_says_what_the_service_says(labels: list[str]) -> None:
    assert {"negative", "positive"} <= set(labels)
    with serve() as server, server.client() as client:
        answers = client.post("/predict/batch", json={"texts": TEXTS}).raise_for_status().json()["predictions"]
    assert [answer["label"] for answer in answers] == labels


def test_a_batch_gets_the_answers_of_its_texts() -> None:
    model = Model()
    together, alone = model.predict(TEXTS), [model.predict_one(text) for text in TEXTS]
    assert [answer["label"] for answer in together] == [answer["label"] for answer in alone]
    assert [answer["confidence"] for answer in together] == pytest.approx(
        [answer["confidence"] for answer in alone], abs=0.05
    )
    assert len(model.predict(["x " * 2000])) == 1  # cut to what the model takes


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_the_catalogue_is_consistent(peer: Peer) -> None:
    source = ROOT / "perf" / "peers" / f"{peer.name}_server.py"
    assert f"perf.peers.{source.stem}" in " ".join(peer.arguments)
    assert "https://" in source.read_text().split('"""')[1]  # the page of its documentation
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,]+])?==[\w.]+", requirement) for requirement in peer.requirements)
    assert json.loads(json.dumps(peer.body('so "good"\n'))) == peer.body('so "good"\n')
    assert peer.path.startswith("/")
    assert peer.command("/bin/python", 8123)[:1] == ["/bin/python"]
    assert peer.command("/bin/python", 8123)[-1] == "8123"


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_an_answer_without_a_label_is_none(peer: Peer) -> None:
    answers = ({}, [], None, "negative", {"label": "LABEL_0"}, {"detail": "busy"}, {"data": []}, {"data": [[]]}, [{}])
    assert not any(peer.answered(answer) for answer in answers)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_answers_each_of_many_at_once_as_the_model_does(peer: Peer, labels: list[str]) -> None:
    if not installed(peer):
        pytest.skip(f"{peer.name} is not installed: python -m perf.peers.environment {peer.name}")
    command = functools.partial(peer.command, python(peer))
    with (
        running(command, path=peer.path, body=peer.body("good"), environment=peer.environment) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
        ThreadPoolExecutor(len(TEXTS)) as pool,
    ):
        responses = list(pool.map(lambda text: client.post(peer.path, json=peer.body(text)), TEXTS))
    assert {response.status_code for response in responses} == {200}
    answers = [response.json() for response in responses]
    assert all(peer.answered(answer) for answer in answers)
    assert [peer.label(answer) for answer in answers] == labels
    with pytest.raises(httpx.TransportError):
        httpx.get(address, trust_env=False)


def test_an_environment_is_made_once_and_anew_when_its_requirements_change(tmp_path: Path) -> None:
    environment = tmp_path / "peer"
    assert not up_to_date(environment, ())
    create(environment, ())
    assert (environment / "bin" / "python").exists()
    assert up_to_date(environment, ())
    assert not up_to_date(environment, ("mosec==0.9.8",))


def test_a_peer_that_needs_nothing_runs_with_our_python(tmp_path: Path) -> None:
    peer = Peer(name="plain", requirements=(), arguments=())
    assert install(peer, tmp_path) == sys.executable
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_cannot_be_made_says_why_and_counts_as_none(tmp_path: Path) -> None:
    peer = Peer(name="broken", requirements=(str(tmp_path / "nothing"),), arguments=())
    with pytest.raises(InstallError, match="nothing"):
        install(peer, tmp_path)
    assert not installed(peer, tmp_path)
