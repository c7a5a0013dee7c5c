"""`python -m perf.peers.environment [name ...]`: install the peers, each in a virtual environment of its own.

What one needs would often not go with what another does. An environment is made once, under `.peers/`, and made anew
when the requirements have changed.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from perf.peers.catalogue import PEERS, Peer

_FOLDER = Path(__file__).parents[2] / ".peers"


class InstallError(Exception):
    """A peer could not be installed; says why."""


def python(peer: Peer, folder: Path = _FOLDER) -> str:
    """The interpreter that a peer runs with: ours, where it needs nothing of its own."""
    return str(_interpreter(folder / peer.name)) if peer.requirements else sys.executable


def installed(peer: Peer, folder: Path = _FOLDER) -> bool:
    """Whether a peer can be started, with the requirements that it has now."""
    return not peer.requirements or up_to_date(folder / peer.name, peer.requirements)


def install(peer: Peer, folder: Path = _FOLDER) -> str:
    """Return a peer's interpreter; make its environment first where there is none, or one of other requirements."""
    if not installed(peer, folder):
        create(folder / peer.name, peer.requirements)
    return python(peer, folder)


def create(environment: Path, requirements: Sequence[str]) -> None:
    """Make a virtual environment with these requirements, in the place of what was there."""
    _run(environment, [sys.executable, "-m", "venv", "--clear", str(environment)])
    if requirements:
        pip = [str(_interpreter(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(environment, [*pip, *requirements])
    _stamp(environment).write_text(_content(requirements))


def up_to_date(environment: Path, requirements: Sequence[str]) -> bool:
    """Whether `create` has come to its end there, with these requirements and this Python."""
    stamp = _stamp(environment)
    return stamp.is_file() and stamp.read_text() == _content(requirements)


def _run(environment: Path, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise InstallError(f"{environment} could not be made: {' '.join(command)}\n{said}")


def _interpreter(environment: Path) -> Path:
    return environment / "bin" / "python"


def _stamp(environment: Path) -> Path:
    return environment / "requirements.stamp"


def _content(requirements: Sequence[str]) -> str:
    return "\n".join((f"python=={sys.version.split()[0]}", *requirements, ""))


def main() -> None:
    """Install what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m perf.peers.environment", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(PEERS)}; all where none is named")
    args = parser.parse_args()
    if unknown := set(args.names) - PEERS.keys():
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    for name in args.names or PEERS:
        try:
            print(f"{name}: {install(PEERS[name])}", flush=True)
        except InstallError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
