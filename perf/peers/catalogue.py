"""Servers of other projects that `make perf` compares with ours: same model file, same texts, one text per request.

Each is configured as its own documentation recommends and may use all cores. `perf/peers/<name>_server.py` lists its
settings and the reasons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perf.load.server import PROCESSES, ROOT

_LABELS = {"negative", "neutral", "positive"}


@dataclass(frozen=True)
class Peer:
    """How to install and start a server, what to send to it, and where its response has the label."""

    name: str
    requirements: tuple[str, ...]  # exact versions; empty if the project's own environment has everything
    arguments: tuple[str, ...]  # for the interpreter; the port is appended
    path: str = "/predict"
    body: Callable[[str], dict[str, Any]] = lambda text: {"text": text}
    label: Callable[[Any], Any] = lambda response: response["label"]
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, python: str, port: int) -> list[str]:
        """The command that starts the server from the root of the repository."""
        return [python, *self.arguments, str(port)]

    def has_label(self, response: Any) -> bool:
        try:
            return self.label(response) in _LABELS
        except (LookupError, TypeError, ValueError):
            return False


def _pinned(*names: str) -> tuple[str, ...]:
    """Requirements at the versions of this project, so that all servers run the model with the same libraries."""
    versions = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return tuple(f"{name}=={versions[name]}" for name in names)


_RUNTIME = _pinned("numpy", "onnxruntime", "tokenizers")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="tutorial",
            requirements=(),
            arguments=(
                "-m",
                "uvicorn",
                "perf.peers.tutorial_server:app",
                "--no-access-log",
                "--workers",
                str(PROCESSES),
                "--port",
            ),
        ),
        Peer(
            name="litserve",
            requirements=("litserve==0.2.19", *_pinned("httptools", "uvloop"), *_RUNTIME),
            arguments=("-m", "perf.peers.litserve_server"),
        ),
        Peer(
            name="mosec",
            requirements=("mosec==0.9.8", *_RUNTIME),
            arguments=(
                *("-m", "perf.peers.mosec_server", "--address", "127.0.0.1", "--log-level", "warning", "--port"),
            ),
        ),
        Peer(
            name="bentoml",
            requirements=("bentoml==1.4.39", *_pinned("httptools", "uvloop"), *_RUNTIME),
            arguments=(
                *("-m", "bentoml", "serve", "perf.peers.bentoml_server:Sentiment", "--host", "127.0.0.1", "--port"),
            ),
            body=lambda text: {"texts": [text]},
            label=lambda response: response[0]["label"],
            environment={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(ROOT / ".peers" / "bentoml" / "home")},
        ),
        Peer(
            name="ray",
            requirements=("ray[serve]==2.60.0", *_pinned("httptools", "uvloop"), *_RUNTIME),
            arguments=("-m", "perf.peers.ray_server"),
            environment={"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
        ),
        Peer(
            name="infinity",
            requirements=(
                *("infinity-emb[optimum,server,torch]==0.0.78", "numpy==1.26.4"),  # the newest NumPy that it supports
                *_pinned("onnxruntime", "optimum", "optimum-onnx", "tokenizers", "torch", "transformers"),
            ),
            arguments=("-m", "perf.peers.infinity_server"),
            path="/classify",
            body=lambda text: {"model": "sentiment", "input": [text]},
            label=lambda response: max(response["data"][0], key=lambda class_: class_["score"])["label"],
            environment={
                "DO_NOT_TRACK": "1",
                "INFINITY_ANONYMOUS_USAGE_STATS": "0",
                "HF_HUB_OFFLINE": "1",
                "INFINITY_HOME": str(ROOT / ".peers" / "infinity"),  # otherwise it writes into the folder of the model
            },
        ),
    )
}
