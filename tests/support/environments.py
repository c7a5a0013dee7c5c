"""`python -m tests.support.environments`: clients of other projects, each in a virtual environment of its own.

Their requirements would conflict with ours, or take hundreds of megabytes. The tests create an environment when they
need it, once, in `.peers/`, beside those of the benchmarks.
"""

import argparse
import fcntl
import sys
from pathlib import Path

import pytest

from perf.peers.environment import InstallError, create, up_to_date
from tests.support.process import ROOT

REQUIREMENTS = {
    # gevent, on which it depends, does not work with newer versions of greenlet.
    "tritonclient": ("tritonclient[http]==2.73.0", "greenlet<3.4"),
    "kserve": ("kserve==0.21.0",),
}


def interpreter(name: str) -> Path:
    """Create the environment of a client unless it exists, and return its interpreter. Raises `InstallError`."""
    environment = ROOT / ".peers" / name
    environment.parent.mkdir(exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not up_to_date(environment, REQUIREMENTS[name]):
            create(environment, REQUIREMENTS[name], "--no-compile")  # in half the time
    return environment / "bin" / "python"


def interpreter_or_skip(name: str) -> Path:
    """Return the interpreter of a client; skip the test if there is none and the package index cannot be reached."""
    try:
        return interpreter(name)
    except InstallError as error:
        if "connection" in str(error).lower():
            pytest.skip(f"{name} is not installed, and the package index cannot be reached")
        raise


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.environments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(REQUIREMENTS)}; all if none is given")
    args = parser.parse_args()
    if unknown := set(args.names) - REQUIREMENTS.keys():
        parser.error(f"unknown client: {', '.join(sorted(unknown))}")
    for name in args.names or REQUIREMENTS:
        try:
            print(f"{name}: {interpreter(name)}", flush=True)
        except InstallError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
