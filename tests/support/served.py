"""A real server with several models and versions, which the mock backend runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import Server, serve
from tests.support.waiting import until

# Two models; the first has a version that answers, one that answers nobody, and a shadow.
MODELS = """\
models:
  one:
    versions: [{path: a, weight: 100}, {path: b, weight: 0}, {path: c, shadow: true}]
  two:
    versions: [{path: a}]
"""


@contextmanager
def serving_models(
    folder: Path, models: str = MODELS, headers: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Server]:
    """Serve what a models file in `folder` says, once all of it is loaded. `headers` let the test see that."""
    file = folder / "models.yaml"
    file.write_text(models)
    with serve(backend="mock", models_file=str(file), **settings) as server:
        until(lambda: states(server, headers) == {"ready"}, on_timeout=server.log.read_text)
        yield server


def states(server: Server, headers: Mapping[str, str] | None = None) -> set[str]:
    """The states of all versions."""
    models = server.get("/models", headers=headers).json()["models"]
    return {version["state"] for model in models for version in model["versions"]}
