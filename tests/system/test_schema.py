"""The OpenAPI document is correct: schemathesis generates requests from it and checks the responses against it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.access import add_key
from tests.support.process import ROOT, serve
from tests.support.waiting import HANG_S

HOOKS = {"SCHEMATHESIS_HOOKS": "tests.support.schema_hooks"}
# The examples are the same in every run. To try more: `SCHEMA_EXAMPLES=5000 pytest tests/system/test_schema.py`.
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "50"))

# Without a Redis, every route of jobs answers 503.
_WITHOUT_JOBS = ("--exclude-path-regex", "^/jobs")


def run(address: str, *flags: str) -> str:
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", "tests/support/schemathesis.toml", "run"]
    command += [f"{address}/openapi.json", "--checks", "all", *_WITHOUT_JOBS]
    generation = ["--generation-deterministic"] if EXAMPLES == 50 else []
    options = ["--max-examples", str(EXAMPLES), "--request-timeout", str(HANG_S), "--no-color", *generation]
    done = subprocess.run(
        [*command, *options, *flags], cwd=ROOT, env=os.environ | HOOKS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("with_keys", [False, True])
def test_every_response_is_as_documented(tmp_path: Path, with_keys: bool) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "fuzzer")
    keys = {"api_keys_file": str(file)} if with_keys else {}
    with serve(backend="mock", **keys) as server:
        report = run(server.address, *(["--header", f"X-API-Key: {key}"] if with_keys else []))
        assert "Tested: 19" in report
        assert int(re.search(r"(\d+) generated", report)[1]) > 300  # type: ignore[index]
        assert not server.events("unexpected error")
        assert server.process.poll() is None
