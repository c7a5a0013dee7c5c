"""Fixtures of the tests of the middleware."""

import logging

import pytest

from tests.support.middleware import Events


@pytest.fixture(autouse=True)
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """Return a function that returns the fields of all log events with a name."""
    caplog.set_level(logging.DEBUG, logger="sentiment")
    return lambda event: [vars(record)["fields"] for record in caplog.records if record.getMessage() == event]
