"""Fixtures of the tests of the middleware."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

Events = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """Return a function that returns the fields of all log events with a name."""
    caplog.set_level(logging.DEBUG, logger="sentiment")
    return lambda event: [vars(record)["fields"] for record in caplog.records if record.getMessage() == event]
