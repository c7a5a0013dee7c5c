from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nginx.process import free_port
from tests.support.jobs import JobsClient, Worker, worker
from tests.support.process import Server, serve
from tests.support.redis import redis


@dataclass
class Stack:
    """A Redis, a service and a worker, which share a store."""

    settings: dict[str, str]
    server: Server
    worker: Worker
    folder: Path
    sources: Path


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("jobs")
    port = free_port()
    (folder / "in").mkdir()
    settings = {
        "redis_url": f"redis://127.0.0.1:{port}",
        "job_store": str(folder / "store"),
        "job_sources": f"file://{folder}/in",
        "job_max_open": "20",
        "job_max_upload_bytes": "200000",
    }
    with redis(port), serve(backend="mock", **settings) as server, worker(**settings) as running:
        yield Stack(settings, server, running, folder, folder / "in")


@pytest.fixture
def client(stack: Stack) -> Iterator[JobsClient]:
    client = JobsClient(stack.server)
    with client.http:
        yield client
