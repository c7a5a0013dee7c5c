"""The commands in perf/profile that need no load generator run and print their results."""

import subprocess
import sys

import pytest

from tests.support.process import ROOT


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("perf.profile.layers --rounds 1 --requests 20", ["cached response", "refusal (429)"]),
        (
            "perf.profile.simulate --cores 1 2 --texts 200 --cost 0.5 0.03",
            ["one at a time", "service, mixed", "at 90%"],
        ),
        (
            "perf.profile.capacity --mock-delay-ms 5 --rounds 1 --seconds 1 --shares 0.3",
            ["base_ms", "30%", "median at 30%: p50"],
        ),
        ("perf.profile.invariance --count 20", ["lists of 256", "beside 32 clients"]),
        ("perf.profile.callers --callers 1 500", ["bytes per caller", "500"]),
        ("perf.profile.stream --lines 2000", ["lines/s", "MiB in the second"]),
        (
            "perf.profile.jobs --jobs 2 --rate 20 --seconds 2 --rounds 1 --rows 200",
            ["first event of progress", "p99 beside a job / alone", "rows/s of a job / score"],
        ),
        ("perf.profile.shared_cache --rounds 1 --texts 3", ["pays from", "sentence", "2000 tokens, windows"]),
        ("perf.profile.parts --rounds 1", ["run the model, one text", "tokenise, one by one"]),
    ],
)
def test_a_command_runs_and_prints_its_results(command: str, expected: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in expected:
        assert words in done.stdout


def test_hostile_texts_are_compared_by_length() -> None:
    """Its exit status depends on the machine."""
    command = [sys.executable, "-m", "perf.profile.hostile", "--rounds", "1", "--only", "one word"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    header, row = done.stdout.splitlines()
    assert "lock held" in header, done.stderr
    assert row.startswith("one word ")
    assert row.endswith(" ms")
