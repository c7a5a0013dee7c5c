"""The unit for systemd: it is valid, and gives the service little to do harm with."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.config import load_settings
from tests.support.process import ROOT

UNIT = ROOT / "deploy" / "systemd" / "rt-sentiment.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False)


@needs_systemd
def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/rt-sentiment/.venv/bin/rt-sentiment", "/bin/true"))
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_service_is_well_confined() -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=30", str(UNIT))
    assert done.returncode == 0, done.stdout
    (exposure,) = re.findall(r"exposure level for rt-sentiment.service: ([\d.]+)", done.stdout)
    assert f"the exposure is {exposure} of 10" in UNIT.read_text()


def test_there_is_time_to_drain() -> None:
    unit = UNIT.read_text()
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, flags=re.MULTILINE)
    (profile,) = re.findall(r"^ExecStart=\S+ serve --profile (\w+)$", unit, flags=re.MULTILINE)
    settings = load_settings({"profile": profile})
    assert (settings.drain_delay_ms + settings.drain_timeout_ms) / 1000 < int(timeout)
