"""What reaches the transport, and when."""

import asyncio
from unittest.mock import Mock, call

import pytest

from app.api.transport import Cork, CorkedTransport


@pytest.fixture
def inner() -> Mock:
    return Mock(spec=asyncio.Transport, is_closing=Mock(return_value=False))


async def test_writes_of_one_step_are_one(inner: Mock) -> None:
    transport = CorkedTransport(inner, asyncio.get_running_loop(), Cork())
    transport.write(b"head ")
    transport.write(b"body")
    inner.write.assert_not_called()
    await asyncio.sleep(0)
    transport.write(b"more")
    await asyncio.sleep(0)
    assert inner.write.mock_calls == [call(b"head body"), call(b"more")]


async def test_what_was_written_is_sent_before_the_end(inner: Mock) -> None:
    transport = CorkedTransport(inner, asyncio.get_running_loop(), Cork())
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert inner.mock_calls == [call.is_closing(), call.write(b"last words"), call.close()]


async def test_nothing_is_written_to_a_transport_that_was_lost(inner: Mock) -> None:
    transport = CorkedTransport(inner, asyncio.get_running_loop(), Cork())
    transport.write(b"too late")
    inner.is_closing.return_value = True
    transport.abort()
    await asyncio.sleep(0)
    inner.abort.assert_called_once()
    inner.write.assert_not_called()


async def test_one_that_cannot_be_written_to_keeps_nothing_from_others(
    inner: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    cork, broken = Cork(), Mock(spec=asyncio.Transport, is_closing=Mock(return_value=False))
    broken.write.side_effect = OSError("its words")
    for transport in (broken, inner):
        CorkedTransport(transport, asyncio.get_running_loop(), cork).write(b"answer")
    await asyncio.sleep(0)
    inner.write.assert_called_once_with(b"answer")
    broken.abort.assert_called_once()
    assert "answer not sent" in caplog.text
    assert "its words" not in caplog.text
