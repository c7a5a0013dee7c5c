"""The servers of other projects that are measured beside ours: same model file, same texts, one text a request.

Each is set up as its own documentation recommends, for all the cores that may be used; `perf/peers/<name>_server.py`
says how, and why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perf.load.server import PROCESSES

_LABELS = {"negative", "neutral", "positive"}
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Peer:
    """One of them: what it takes, how it is started, asked and understood."""

    name: str
    requirements: tuple[str, ...]  # exact versions; none where the project's own environment has it all
    arguments: tuple[str, ...]  # of the interpreter; the port comes last
    path: str = "/predict"
    body: Callable[[str], dict[str, Any]] = lambda text: {"text": text}
    label: Callable[[Any], Any] = lambda answer: answer["label"]
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, python: str, port: int) -> list[str]:
        """The command that serves, from the root of the repository."""
        return [python, *self.arguments, str(port)]

    def answered(self, answer: Any) -> bool:
        """Whether an answer holds a label."""
        try:
            return self.label(answer) in _LABELS
        except (LookupError, TypeError, ValueError):
            return False


def _ours(*names: str) -> tuple[str, ...]:
    """Requirements in the versions of this project: servers are compared, not what they run the model with."""
    versions = dict(line.split("==") for line in (_ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return tuple(f"{name}=={versions[name]}" for name in names)


_RUNTIME = _ours("numpy", "onnxruntime", "tokenizers")

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
            requirements=("litserve==0.2.19", *_ours("httptools", "uvloop"), *_RUNTIME),
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
            requirements=("bentoml==1.4.39", *_ours("httptools", "uvloop"), *_RUNTIME),
            arguments=(
                *("-m", "bentoml", "serve", "perf.peers.bentoml_server:Sentiment", "--host", "127.0.0.1", "--port"),
            ),
            body=lambda text: {"texts": [text]},
            label=lambda answer: answer[0]["label"],
            environment={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(_ROOT / ".peers" / "bentoml" / "home")},
        ),
        Peer(
            name="ray",
            requirements=("ray[serve]==2.60.0", *_ours("httptools", "uvloop"), *_RUNTIME),
            arguments=("-m", "perf.peers.ray_server"),
            environment={"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
        ),
        Peer(
            name="infinity",
            requirements=(
                *("infinity-emb[optimum,server,torch]==0.0.78", "numpy==1.26.4"),  # it takes no later one
                *_ours("onnxruntime", "optimum", "optimum-onnx", "tokenizers", "torch", "transformers"),
            ),
            arguments=("-m", "perf.peers.infinity_server"),
            path="/classify",
            body=lambda text: {"model": "sentiment", "input": [text]},
            label=lambda answer: max(answer["data"][0], key=lambda class_: class_["score"])["label"],
            environment={
                "DO_NOT_TRACK": "1",
                "INFINITY_ANONYMOUS_USAGE_STATS": "0",
                "HF_HUB_OFFLINE": "1",
                "INFINITY_HOME": str(_ROOT / ".peers" / "infinity"),  # or it writes beside the model
            },
        ),
    )
}
