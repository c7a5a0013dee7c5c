"""Each peer has its own virtual environment, created once for its requirements."""

import sys
from pathlib import Path

import pytest

from perf.peers.catalogue import Peer
from perf.peers.environment import InstallError, create, install, installed, up_to_date


def test_an_environment_is_outdated_when_its_requirements_change(tmp_path: Path) -> None:
    environment = tmp_path / "peer"
    assert not up_to_date(environment, ())
    create(environment, ())
    assert (environment / "bin" / "python").exists()
    assert up_to_date(environment, ())
    assert not up_to_date(environment, ("mosec==0.9.8",))


def test_a_peer_without_requirements_runs_with_our_python(tmp_path: Path) -> None:
    peer = Peer(name="plain", requirements=(), arguments=())
    assert install(peer, tmp_path) == sys.executable
    assert list(tmp_path.iterdir()) == []


def test_a_failed_installation_is_reported_and_does_not_count(tmp_path: Path) -> None:
    peer = Peer(name="broken", requirements=(str(tmp_path / "nothing"),), arguments=())
    with pytest.raises(InstallError, match="nothing"):
        install(peer, tmp_path)
    assert not installed(peer, tmp_path)
