import signal

import pytest

from app.server import signals as stop
from app.server.signals import Stop


@pytest.mark.parametrize(
    ("signals", "insisted"),
    [
        pytest.param([(0, signal.SIGTERM)], False, id="once"),
        pytest.param([(0, signal.SIGTERM), (0.2, signal.SIGTERM)], False, id="passed on by make"),
        pytest.param([(0, signal.SIGTERM), (9, signal.SIGHUP)], False, id="and the terminal closes"),
        pytest.param([(0, signal.SIGINT), (1, signal.SIGINT)], True, id="Ctrl-C twice"),
        pytest.param([(0, signal.SIGHUP), (1, signal.SIGTERM)], True, id="the terminal has closed, and then SIGTERM"),
        pytest.param([(0, signal.SIGTERM), (0.4, signal.SIGTERM), (0.6, signal.SIGTERM)], True, id="until it ends"),
    ],
)
def test_who_asks_again_after_a_moment_insists(
    signals: list[tuple[float, int]], insisted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Stop()
    assert not told.asked
    for at_s, number in signals:
        monkeypatch.setattr(stop.time, "monotonic", lambda at_s=at_s: 100 + at_s)
        told.take(number)
    assert told.asked
    assert told.insisted == insisted
