"""The process that watches over those of the slots."""

import signal
import subprocess
import sys

from app.jobs.slots import Slots


def test_a_slot_that_ends_as_a_signal_arrives_keeps_it_from_no_other() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    other = subprocess.Popen(["sleep", "600"])
    try:
        slots = Slots(2, lambda _: None)
        slots._running = {gone.pid: 0, other.pid: 1}
        slots._stop(signal.SIGTERM, None)
        assert other.wait() == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()
