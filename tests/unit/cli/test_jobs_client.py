"""`rt-sentiment jobs` with servers that are missing, or are not ours."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.cli.exits import Failure
from app.cli.jobs.client import JobsClient
from app.cli.jobs.result import format_for
from app.cli.score import remote
from app.cli.score.remote import Server
from tests.support.command import run


class Page(BaseHTTPRequestHandler):
    """A server of something else, which notes the paths."""

    status, retry_after = 200, ""
    paths: list[str]

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"detail": "jobs are off"}' if self.retry_after else b"<html>"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", self.retry_after)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Page]]:
    class Here(Page):
        paths: list[str] = []  # noqa: RUF012 - each test has a class of its own

    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("RT_SENTIMENT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        yield Here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("text\ngood\n")
    return tmp_path / "in.csv"


@pytest.mark.parametrize(
    ("command", "status"),
    [("list", 200), ("list", 404), ("show x", 200), ("submit", 200), ("submit", 404), ("result x", 404)],
)
def test_a_server_of_something_else_is_named(
    command: str, status: int, page: type[Page], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.status = status
    args = [table] if command == "submit" else ["-o", tmp_path / "out.csv"] if command == "result x" else []
    assert run("jobs", *command.split(), *args) == 1
    assert f"no rt-sentiment server answers there ({status})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "named", "why"),
    [
        ("a.parquet", "csv", "a.parquet: the name says parquet, and --format csv"),
        ("a.jsonl.gz", "csv", "a.jsonl.gz: the name says ndjson, and --format csv"),
        ("a.parquet.gz", None, "a.parquet.gz: Parquet is compressed already"),
        ("a", None, "a: the format is not known by its name; set --format"),
        ("no/such/a.csv", None, "no/such/a.csv: no such folder"),
    ],
)
def test_a_result_that_cannot_be_written_so_is_refused(
    out: str, named: str | None, why: str, page: type[Page], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("jobs", "result", "x", "-o", out, *(["--format", named] if named else [])) == 2
    assert why in capsys.readouterr().err
    assert page.paths == []


@pytest.mark.parametrize(
    ("out", "named", "form"),
    [("-", None, None), ("-", "csv", "csv"), ("a.B.TAB", None, "tsv"), ("a.tar.gz", None, "tar"), ("a", "csv", "csv")],
)
def test_the_format_of_a_result_follows_the_name(out: str, named: str | None, form: str | None) -> None:
    assert format_for(out, named) == form


def test_an_upload_is_not_repeated_if_waiting_does_not_help(
    page: type[Page], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.status, page.retry_after = 503, "3600"
    assert run("jobs", "submit", table) == 1
    assert len(page.paths) == 1
    assert capsys.readouterr().err == "rt-sentiment: jobs are off\n"


def test_an_id_is_sent_as_one_part_of_the_path(page: type[Page]) -> None:
    page.status = 404
    assert run("jobs", "show", "a b/日") == 1
    assert page.paths == ["/jobs/a%20b%2F%E6%97%A5"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://a..b", "http://a/b c"])
def test_an_address_that_cannot_be_one_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("jobs", "list", "--url", url) == 2
    assert "expected http://host[:port]" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["rts_€", "rts_a\nb"])
def test_a_key_that_no_header_can_have_is_refused_unseen(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("jobs", "list", "--api-key", key) == 2
    error = capsys.readouterr().err
    assert error.startswith("rt-sentiment: the API key has characters")
    assert "rts_" not in error


def test_people_are_told_once_why_they_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote, "_SILENT_S", 0.0)
    with pytest.raises(Failure):
        JobsClient(Server("http://127.0.0.1:1", give_up_s=0.5)).call("GET", "/jobs")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "Connection refused; trying again for up to 0 s" in lines[0]
