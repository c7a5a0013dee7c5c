"""The benchmarks that need nothing but the project run to their end, and print what they promise."""

import subprocess
import sys

import pytest

from tests.support.process import ROOT


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("perf.profile.layers --rounds 1 --requests 20", ["an answer from the cache", "a refusal (429)"]),
        ("perf.profile.simulate --cores 1 2 --texts 200 --cost 0.5 0.03", ["one at a time", "ours", "at 90% of"]),
        ("perf.profile.parts --rounds 1", ["the model, a text alone", "tokenise, one by one"]),
    ],
)
def test_a_benchmark_measures(command: str, says: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for word in says:
        assert word in done.stdout
