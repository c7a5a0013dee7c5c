import signal

import pytest

from app.server import signals
from app.server.signals import Stop


@pytest.mark.parametrize(
    ("received", "forced"),
    [
        pytest.param([(0, signal.SIGTERM)], False, id="once"),
        pytest.param([(0, signal.SIGTERM), (0.2, signal.SIGTERM)], False, id="forwarded by make"),
        pytest.param([(0, signal.SIGTERM), (9, signal.SIGHUP)], False, id="then the terminal closes"),
        pytest.param([(0, signal.SIGINT), (1, signal.SIGINT)], True, id="Ctrl-C twice"),
        pytest.param([(0, signal.SIGHUP), (1, signal.SIGTERM)], True, id="the terminal closes, then SIGTERM"),
        pytest.param([(0, signal.SIGTERM), (0.4, signal.SIGTERM), (0.6, signal.SIGTERM)], True, id="repeated"),
    ],
)
def test_a_second_signal_after_a_moment_forces_the_end(
    received: list[tuple[float, int]], forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    assert not stop.requested
    for at_s, number in received:
        monkeypatch.setattr(signals.time, "monotonic", lambda at_s=at_s: 100 + at_s)
        stop.receive(number)
    assert stop.requested
    assert stop.forced == forced
