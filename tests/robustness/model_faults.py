"""Faults while a model is served from a models file, or replaced by another version. These run the embedded model."""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.inference import MANIFEST
from tests.robustness.fault import Outcome, fault, outcome, wait_for_recovery
from tests.support.artifacts import Stall, web_server
from tests.support.process import ROOT, Server, serve
from tests.support.replicas import load, running
from tests.support.waiting import HANG_S, until

# A version is loaded only while those that answer leave time for it.
_PAUSE_S = 0.1
_WEIGHTS = "model_int8.onnx"
_FOLLOWED = {"models_poll_s": "0.1", "backend": "onnx", "slots": "1"}
_ANSWERED = 'http_requests_total{handler="/predict",method="POST",status="200"}'


@dataclass(frozen=True)
class Place:
    """A folder with two versions of the embedded model, a models file that states the first, and an empty cache."""

    folder: Path

    @property
    def first(self) -> Path:
        return self.folder / "first"

    @property
    def second(self) -> Path:
        return self.folder / "second"

    @property
    def file(self) -> Path:
        return self.folder / "models.yaml"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def settings(self) -> dict[str, str]:
        return _FOLLOWED | {"models_file": str(self.file), "models_cache": str(self.cache)}

    def state(self, version: dict[str, str]) -> None:
        """Make the file state one version, in one step."""
        draft = self.folder / "draft.yaml"
        draft.write_text(json.dumps({"models": {"m": {"versions": [version | {"weight": 100}]}}}))
        draft.rename(self.file)

    def cached(self) -> tuple[list[str], list[str]]:
        """Return the folders of the cache that count as artifacts, and those that do not."""
        names = [entry.name for entry in self.cache.iterdir() if entry.is_dir()]
        complete = [name for name in names if re.fullmatch(r"[0-9a-f]{64}", name)]
        return complete, [name for name in names if name not in complete]


@contextmanager
def _versions() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name))
        for folder in (place.first, place.second):
            shutil.copytree(ROOT / "models" / "sentiment-en", folder)
            manifest = folder / MANIFEST
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": folder.name}))
        place.state({"path": str(place.first)})
        yield place


def _under_load(title: str, cause: Callable[[Server, Place], None]) -> Outcome:
    """Cause a fault while clients send requests; they get answers before and after it."""
    with _versions() as place, serve(**place.settings) as server:

        def act() -> None:
            _wait_for_requests(server)
            cause(server, place)
            _wait_for_requests(server)

        responses = asyncio.run(load(server.address, act, connections=4, pause_s=_PAUSE_S))
        wait_for_recovery(server.address)
        assert server.process.poll() is None
        assert not server.events("unexpected error"), server.events("unexpected error")
        return outcome(title, responses)


def _wait_for_requests(server: Server, more: int = 20) -> None:
    enough = server.metric(_ANSWERED) + more
    until(lambda: server.metric(_ANSWERED) >= enough)


def _served(address: str) -> list[tuple[str, str]]:
    """Return version and state of all versions of the model."""
    versions = httpx.get(f"{address}/models/m", trust_env=False, timeout=HANG_S).json()["versions"]
    return [(each["version"], each["state"]) for each in versions]


@fault
def the_file_of_the_model_is_replaced() -> Outcome:
    """The weights become garbage; then the model is to be loaded again."""

    def replace(server: Server, place: Place) -> None:
        weights = place.first / _WEIGHTS
        with weights.open("r+b") as stream:  # in place, for whoever has mapped it
            stream.write(b"garbage" * 1000)
            stream.truncate()
        _wait_for_requests(server)
        os.utime(place.first / MANIFEST)  # as if another version had been copied there
        reason = server.wait_for("version failed")["reason"]
        assert _WEIGHTS in reason, reason
        assert ("m@first", "ready") in _served(server.address)

    return _under_load("the file of the model is replaced by garbage", replace)


@fault
def the_disk_is_full_during_a_load() -> Outcome:
    """The server may write no file beyond a megabyte; once it may, it tries again."""

    def fill(server: Server, place: Place) -> None:
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        place.state({"url": f"file://{place.second}"})
        reason = server.wait_for("version failed")["reason"]
        assert "SENTIMENT_MODELS_CACHE" in reason, reason
        assert place.cached() == ([], []), place.cached()
        assert ("m@first", "ready") in _served(server.address)
        _wait_for_requests(server)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        until(lambda: _served(server.address) == [("m@second", "ready")])

    return _under_load("the disk is full while a version is downloaded", fill)


@fault
def a_process_is_killed_during_a_swap() -> Outcome:
    """One of two replicas dies while it downloads the new version; the other one waits for the same files."""
    with _versions() as place, running(frozen_s=HANG_S, **place.settings) as replicas:
        stall = Stall(_WEIGHTS)
        with web_server(place.second, stall) as (address, _):

            def kill() -> None:
                replicas.wait_for_requests(20)
                place.state({"url": address})
                replicas.wait_until(stall.reached.is_set)
                assert place.cached()[0] == []
                victim = next(pid for pid in replicas.processes() if _downloads(pid))
                os.kill(victim, signal.SIGKILL)
                replicas.wait_until(lambda: victim not in replicas.processes() and replicas.all_ready())
                replicas.wait_until(
                    lambda: all(_served(each) == [("m@second", "ready")] for each in replicas.replicas())
                )
                complete, others = place.cached()
                assert (len(complete), others) == (1, []), place.cached()
                replicas.wait_for_requests(20)

            return outcome(
                "a replica is killed (SIGKILL) half way through a swap",
                asyncio.run(load(replicas.address, kill, connections=4, pause_s=_PAUSE_S)),
            )


def _downloads(pid: int) -> bool:
    """Return whether a process writes an artifact into the cache."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    return any(".partial/" in link for link in links)
