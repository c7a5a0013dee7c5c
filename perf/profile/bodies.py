"""`python -m perf.profile.bodies`: what hostile bodies cost a server, with the mock backend.

Each body goes to a server of its own, after a valid body of four megabytes of white space, because the first large body
of a process starts threads. For each, the program prints the response, by how many times the size of the body the peak
of the resident memory exceeds the memory before, the processor time of the server, and the longest time that `/livez`
took in the meantime. Exits with 1 if the memory grew by more than four times the size of a body, also for valid lists,
with all the copies that the service makes of texts; but not for texts that are read in windows, of which each may
become ten texts.
"""

import argparse
import contextlib
import http.client
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from perf.load.server import running

MAX_FACTOR = 4.0
_TEXTS, _CHARS = 256, 10_000  # the limits on a list
_PROBE_INTERVAL_S = 0.002
_EMOJI = "\U0001f600"  # takes four bytes, as do all characters of a string with one


def main() -> None:
    """Send each body and print what it cost."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.bodies", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="only bodies whose names contain these words")
    parser.add_argument("--megabytes", type=float, default=4.0, help="size of a body (%(default)s)")
    args = parser.parse_args()
    print(f"{'body':54}{'status':>8}{'MB':>7}{'memory / size':>15}{'CPU, ms':>9}{'/livez, ms':>12}")
    too_much = False
    for name, requests in _cases(round(args.megabytes * 2**20)).items():
        if args.only in name:
            too_much |= _measure(name, list(requests()))
    sys.exit(f"memory grew by more than {MAX_FACTOR:g} times the size of a body" if too_much else 0)


def _cases(size: int) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Requests of each kind, which are sent at the same time."""

    def body(start: str, part: str, end: str = "", path: str = "/predict/batch") -> Callable[[], Iterator[bytes]]:
        def requests() -> Iterator[bytes]:
            first, middle, last = start.encode(), part.encode(), end.encode()
            yield _post(path, first + middle * ((size - len(first) - len(last) - 1) // len(middle)) + last)

        return requests

    def fields(value: str) -> Callable[[], Iterator[bytes]]:
        count = size // (13 + len(value))
        return lambda: iter([_post("/predict/batch", _json({f'"{number}": {value}' for number in range(count)}))])

    def texts(text: str, end: str, *, requests: int = 1) -> Callable[[], Iterator[bytes]]:
        content = (
            '{"texts": [' + ", ".join(f'"{number}{text}"' for number in range(100, 100 + _TEXTS)) + f"]{end}}}"
        ).encode()
        return lambda: iter([_post("/predict/batch", content)] * requests)

    def chunks(part: bytes, path: str, media_type: str) -> Callable[[], Iterator[bytes]]:
        chunk = b"%x\r\n%b\r\n" % (len(part), part)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        return lambda: iter([head.encode() + chunk * (4 * size // len(chunk))])

    wide = "a" * (_CHARS - 4) + _EMOJI
    invalid = ', "top_k": 0'
    return {
        "unknown fields with nested lists": fields("[[[[[[[[]]]]]]]]"),
        "unknown fields with numbers": fields("1"),
        "one field again and again": body('{"texts": ["a"]', ', "top_k": 1', "}"),
        "one field with nested lists": body('{"top_k": [', "[],", "[]]}"),
        "lists in lists": body('{"texts": ', "["),
        "lists in lists, at the top": body("", "["),
        "a list at the top": body("[", '"a",', '"a"]'),
        "empty texts": body('{"texts": [', '"",', '""]}'),
        "numbers as texts, partial": body('{"partial": true, "texts": [', "1,", "1]}"),
        "lists as texts, partial": body('{"partial": true, "texts": [', "[],", "[]]}"),
        "numbers as texts, partial comes last": body('{"texts": [', "1,", '1], "partial": true}'),
        "objects as texts, partial, few": body('{"partial": true, "texts": [' + "[" * 9, '{"a": 1},', "1]}"),
        "a text of one word": body('{"texts": ["', "a", '"]}'),
        "a text of escapes": body('{"texts": ["', "\\n", '"]}'),
        "a text that never ends": body('{"texts": ["', "\\ud83d\\ude00"),
        "a text with one emoji": body(f'{{"texts": ["{_EMOJI}', "a", '"]}'),
        "a field name": body('{"', "a", '": 1}'),
        "a number": body('{"texts": ["a"], "top_k": 1', "0", "}"),
        "a fraction": body('{"texts": ["a"], "top_k": 1.', "0", "}"),
        "white space": body('{"texts": ["a"]', " \n", "}"),
        "white space in a list": body('{"texts": ["a",', " \n", '"b"]}'),
        "long texts with one emoji, invalid": texts(wide, invalid),
        "long texts of escapes, invalid": texts("\\n" * (_CHARS // 2 - 4) + "\\u00e9", invalid),
        "long texts of escaped emoji, invalid": texts("\\ud83d\\ude00" * (_CHARS // 8), invalid),
        "long texts with one emoji, 24 at once, invalid": texts(wide, invalid, requests=24),
        "valid: long texts with one emoji": texts(wide, ""),
        "valid: long texts of words with one emoji": texts(" word" * (_CHARS // 5 - 1) + _EMOJI, ""),
        "valid: long texts of words with one emoji, 24 at once": texts(
            " word" * (_CHARS // 5 - 1) + _EMOJI, "", requests=24
        ),
        "windows: long texts of short words": texts(" a" * (_CHARS // 2 - 2), ', "long_text": "window"'),
        "valid: long texts of Chinese characters": texts("好" * (_CHARS // 2), ""),
        "valid: long texts of words": texts(" word" * (_CHARS // 5 - 1), ""),
        "one-byte chunks": chunks(b" ", "/predict/batch", "application/json"),
        "32-byte chunks": chunks(b" " * 32, "/predict/batch", "application/json"),
        "one-byte chunks after a refusal": chunks(b" ", "/predict/batch", "text/plain"),
    }


def _post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _json(fields: set[str]) -> bytes:
    return ("{" + ", ".join(fields) + "}").encode()


def _measure(name: str, requests: Sequence[bytes]) -> bool:
    """Send the requests to a server, print a line, and return whether memory grew too much."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pid"
        code = f"import os\nopen({str(file)!r}, 'w').write(str(os.getpid()))\nfrom app.cli import main\nmain()"
        environment = {"SENTIMENT_BACKEND": "mock", "SENTIMENT_LOG_LEVEL": "error"}
        with running([sys.executable, "-c", code, "serve", "--port"], environment=environment) as address:
            process = Path(f"/proc/{file.read_text()}")
            probe = _Probe(address)
            _send(address, _post("/predict/batch", b'{"texts": ["a"]' + b" " * 4_000_000 + b"}"))
            before_mb, before_s = _memory_mb(process, "VmRSS"), _processor_s(process)
            (process / "clear_refs").write_text("5")  # the peak starts again
            with probe:
                statuses = _send_all(address, requests)
            grown_mb = _memory_mb(process, "VmHWM") - before_mb
            used_ms = (_processor_s(process) - before_s) * 1000
    size_mb = sum(map(len, requests)) / 1e6
    status = "/".join(sorted(set(statuses)))
    print(f"{name:54}{status:>8}{size_mb:7.1f}{grown_mb / size_mb:15.1f}{used_ms:9.0f}{probe.longest_ms:12.0f}")
    return grown_mb > MAX_FACTOR * size_mb and not name.startswith("windows: ")


def _send_all(address: str, requests: Sequence[bytes]) -> list[str]:
    statuses: list[str] = []
    threads = [threading.Thread(target=lambda r=r: statuses.append(_send(address, r))) for r in requests]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def _send(address: str, request: bytes) -> str:
    """Send a request, and return the status of its response."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        try:
            start = connection.recv(100)
        except (ConnectionError, TimeoutError):
            start = b""
        found = re.match(rb"HTTP/1.1 (\d+)", start)
        return found[1].decode() if found else "none"


class _Probe:
    """Requests `/livez` all the time while its `with` statement runs."""

    def __init__(self, address: str) -> None:
        self.longest_ms = 0.0
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()
        time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        time.sleep(0.1)
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        url = urlsplit(self._address)
        assert url.hostname
        connection = http.client.HTTPConnection(url.hostname, url.port)
        while not self._stop.wait(_PROBE_INTERVAL_S):
            started_s = time.perf_counter()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - started_s) * 1000)


def _memory_mb(process: Path, field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6


def _processor_s(process: Path) -> float:
    user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
