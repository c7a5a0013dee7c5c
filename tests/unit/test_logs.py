import asyncio
import contextlib
import errno
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from app import logs

SECRET = "words that a user wrote"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    logs.log(logging.INFO, "event\nwith a break", number=1, text="a\nb", other={"x"})
    logs.log(logging.DEBUG, "not this")
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {"level": "info", "event": "event\nwith a break", "number": 1, "text": "a\nb", "other": "{'x'}"}


async def test_lines_of_one_loop_iteration_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", written.append)
    logs.configure("json", "info")
    logs.log(logging.INFO, "first")
    logs.log(logging.INFO, "second")
    assert not written
    await asyncio.sleep(0)
    logs.log(logging.INFO, "third")
    other = threading.Thread(target=logs.log, args=(logging.INFO, "fourth"))
    other.start()  # writes its own line and the pending one
    other.join()
    assert [[json.loads(line)["event"] for line in part.splitlines()] for part in written] == [
        ["first", "second"],
        ["third", "fourth"],
    ]


def test_a_line_of_a_closed_event_loop_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    async def end(event: str) -> None:
        logs.log(logging.INFO, event)
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1)

    logs.configure("json", "info")
    for event in ("first", "second"):
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            stopped = loop.create_task(end(event))
            with pytest.raises(RuntimeError, match="stopped before"):
                loop.run_until_complete(stopped)
            stopped.cancel()
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(stopped)
    logs.log(logging.INFO, "third")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["first", "second", "third"]


def test_other_handlers_get_the_fields_too(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logs.configure("json", "info")
    logging.root.addHandler(caplog.handler)
    logs.log(logging.INFO, "event", number=1)
    assert [record.fields for record in caplog.records] == [{"number": 1}]  # type: ignore[attr-defined]
    assert json.loads(capsys.readouterr().err)["number"] == 1


def test_a_line_that_cannot_be_formatted_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    logs.log(logging.INFO, "a lone surrogate: \ud800")
    logs.log(logging.INFO, "whole")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["whole"]


def test_a_full_disk_loses_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Mock(side_effect=[OSError(errno.ENOSPC, "No space left on device"), None])
    monkeypatch.setattr(sys.stderr, "write", written)
    logs.configure("json", "info")
    logs.log(logging.INFO, "lost")
    logs.log(logging.INFO, "written")
    assert json.loads(written.call_args.args[0])["event"] == "written"


def test_auto_is_json_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("auto", "info")
    logs.log(logging.INFO, "event")
    assert json.loads(capsys.readouterr().err)["event"] == "event"


def test_auto_is_plain_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.configure("auto", "info")
    logs.log(logging.WARNING, "event", number=1)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning event number=1\n", capsys.readouterr().err)


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_is_logged_without_its_message(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style, "info")  # type: ignore[arg-type]
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        logs.log_exception("unexpected", error)
        logging.getLogger("uvicorn.error").exception("from a library")
    written = capsys.readouterr().err
    assert SECRET not in written
    assert written.count("ValueError") == 2
    assert written.count("test_logs.py") == 2


def test_lines_of_libraries_name_their_logger(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug")
    logging.getLogger("uvicorn.error").info("noise")
    logging.getLogger("uvicorn.error").warning("noise")
    logging.getLogger("uvicorn.error").error("news")
    assert json.loads(capsys.readouterr().err)["logger"] == "uvicorn.error"


def test_an_error_of_the_event_loop_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    """The default handler of asyncio logs the message, which may contain a user's text."""
    logs.configure("json", "info")
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        logs.log_loop_error(Mock(), {"message": "Task exception was never retrieved", "exception": error})
    logs.log_loop_error(Mock(), {"message": "Task was destroyed but it is pending!"})
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["error"], second["reason"]) == (
        "unexpected error",
        "ValueError",
        "Task was destroyed but it is pending!",
    )
    assert "test_logs.py" in first["trace"][0]
    assert SECRET not in json.dumps(first)
