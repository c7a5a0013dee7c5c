"""The OpenAPI document is correct: schemathesis generates requests from it and checks the responses against it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access import add_key
from nginx.process import free_port
from tests.support.process import ROOT, serve
from tests.support.redis import redis
from tests.support.waiting import HANG_S

HOOKS = {"SCHEMATHESIS_HOOKS": "tests.support.schema_hooks"}
# The examples are the same in every run. To try more: `SCHEMA_EXAMPLES=5000 pytest tests/system/test_schema.py`.
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "50"))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of a Redis and a store. There is no worker, so every job waits."""
    port, folder = free_port(), tmp_path_factory.mktemp("jobs")
    with redis(port):
        yield {
            "redis_url": f"redis://127.0.0.1:{port}",
            "job_store": str(folder / "store"),
            "job_sources": f"file://{folder}",
            "job_max_open": "1000000",
        }


# The first DELETE of a job only cancels it.
_EXCEPT = ("--exclude-checks", "use_after_free")
# No job ends, so neither would its live events: the client gets only the first one.
_ONE_EVENT = """
from app.api.job_events import JobEvents
follow = JobEvents.follow
async def one(self, *args):
    async for event in follow(self, *args):
        yield event
        return
JobEvents.follow = one
"""


def run(address: str, examples: int, *flags: str) -> str:
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", "tests/support/schemathesis.toml", "run"]
    command += [f"{address}/openapi.json", "--checks", "all", *_EXCEPT]
    generation = ["--generation-deterministic"] if EXAMPLES == 50 else []
    options = ["--max-examples", str(examples), "--request-timeout", str(HANG_S), "--no-color", *generation]
    done = subprocess.run(
        [*command, *options, *flags], cwd=ROOT, env=os.environ | HOOKS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("with_keys", [False, True])
def test_every_response_is_as_documented(tmp_path: Path, jobs: dict[str, str], with_keys: bool) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "fuzzer", scopes=["predict", "jobs"])
    keys = {"api_keys_file": str(file)} if with_keys else {}
    with serve(backend="mock", feedback="true", prelude=_ONE_EVENT, **jobs, **keys) as server:
        # What a key changes needs few examples: the statuses 401 and 403.
        report = run(server.address, *((5, "--header", f"X-API-Key: {key}") if with_keys else (EXAMPLES,)))
        assert "Tested: 34" in report
        assert int(re.search(r"(\d+) generated", report)[1]) > (100 if with_keys else 300)  # type: ignore[index]
        assert not server.events("unexpected error")
        assert server.process.poll() is None
