"""`python -m perf.peers.environment [name ...]`: install the peers, each in its own virtual environment.

Their requirements often conflict with each other. An environment is created once, in `.peers/`, and again when the
requirements change.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from perf.load.server import ROOT
from perf.peers.catalogue import PEERS, Peer

_FOLDER = ROOT / ".peers"


class InstallError(Exception):
    """A peer could not be installed."""


def python(peer: Peer, folder: Path = _FOLDER) -> str:
    """The interpreter for a peer: our own if the peer has no requirements."""
    return str(_interpreter(folder / peer.name)) if peer.requirements else sys.executable


def installed(peer: Peer, folder: Path = _FOLDER) -> bool:
    """Whether the environment of a peer exists and matches its requirements."""
    return not peer.requirements or up_to_date(folder / peer.name, peer.requirements)


def install(peer: Peer, folder: Path = _FOLDER) -> str:
    """Create the environment of a peer if it is missing or outdated, and return its interpreter."""
    if not installed(peer, folder):
        create(folder / peer.name, peer.requirements)
    return python(peer, folder)


def create(environment: Path, requirements: Sequence[str], *options: str) -> None:
    """Create a virtual environment with these requirements, replacing an existing one. `options` are for pip."""
    _run(environment, [sys.executable, "-m", "venv", "--clear", str(environment)])
    if requirements:
        pip = [
            str(_interpreter(environment)),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *options,
        ]
        _run(environment, [*pip, *requirements])
    _stamp(environment).write_text(_content(requirements))


def up_to_date(environment: Path, requirements: Sequence[str]) -> bool:
    """Whether `create` has completed here with these requirements and this version of Python."""
    stamp = _stamp(environment)
    return stamp.is_file() and stamp.read_text() == _content(requirements)


def _run(environment: Path, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise InstallError(f"{environment} could not be created: {' '.join(command)}\n{output}")


def _interpreter(environment: Path) -> Path:
    return environment / "bin" / "python"


def _stamp(environment: Path) -> Path:
    return environment / "requirements.stamp"


def _content(requirements: Sequence[str]) -> str:
    return "\n".join((f"python=={sys.version.split()[0]}", *requirements, ""))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.peers.environment", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(PEERS)}; all if none is given")
    args = parser.parse_args()
    if unknown := set(args.names) - PEERS.keys():
        parser.error(f"unknown peer: {', '.join(sorted(unknown))}")
    for name in args.names or PEERS:
        try:
            print(f"{name}: {install(PEERS[name])}", flush=True)
        except InstallError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
