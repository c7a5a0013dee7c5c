"""Broken HTTP over raw sockets: `make fuzz`, `python -m tests.robustness.fuzz --connections 1000000`.

A small grammar generates requests. They are damaged, cut into pieces and sent by clients of which some wait for the
response and others leave. Each response must be valid HTTP, must not be a server error and must not quote the request.
Every connection must end, and afterwards the process must have no more open files than before.
"""

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httptools
from tqdm import tqdm

from tests.support.process import Server, serve
from tests.support.waiting import HANG_S, until

CANARY = b"zq9canary"  # stands for the text of a user
SETTINGS = {
    "backend": "mock",
    "header_timeout_s": "1",
    "body_timeout_s": "1",
    "stream_idle_s": "1",
    "keep_alive_s": "1",
}

_METHODS = [b"POST"] * 20 + [b"GET", b"OPTIONS", b"PUT", b"PRI", b"CONNECT", b"post", b"", b"POST POST"]
_TARGETS = [b"/predict"] * 20 + [b"/predict/stream"] * 5 + [
    b"/predict/batch", b"/", b"/info", b"/metrics", b"/livez", b"/" + CANARY, b"*", b"http://a/predict",
    b"/predict?" + CANARY, b"//predict", b"/%00", b"/../predict", b"/" + b"a" * 9000, b"", b"\xff\xfe",
]  # fmt: skip
_VERSIONS = [b"HTTP/1.1"] * 30 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.11", b"http/1.1", b"", b"HTTP/1.1 x"]
_HEADERS = [
    b"Content-Type: application/json", b"Content-Type: text/plain", b"Accept: " + CANARY, b"Connection: close",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Content-Encoding: gzip",
    b"X-Request-Timeout-Ms: 600000", b"X-Request-Timeout-Ms: -1", b"X-Forwarded-For: " + CANARY, b": empty",
    b"X-Request-ID: \xe2\x82\xac", b"no colon", b" folded: line", b"a\tb: c", b"Host:", b"Host: a\r\nHost: b",
    b"X: " + b"y" * 5000, b"Authorization: Bearer " + CANARY, b"Cookie: " + CANARY, b"Trailer: Expires",
    b"TE: trailers", b"Transfer-Encoding: gzip",
]  # fmt: skip
_BODIES = [b'{"text": "good ' + CANARY + b'"}'] * 10 + [
    b'{"texts": ["good", "' + CANARY + b'"]}', b'{"' + CANARY + b'": 1}',
    b'{"id": 1, "text": "good"}\n{"text": "' + CANARY + b'"}\r\n\n' + CANARY + b'\n{"text": "bad"}',
    b"{}", b"[]", b'{"text": ', b'"' + CANARY + b'"', b"\x1f\x8b\x08\x00", b"[" * 3000, b'{"text": "\\ud800"}',
    b'{"text": NaN}', b"",
    b'{"text": "' + CANARY * 2000 + b'"}',
]  # fmt: skip
_FRAGMENTS = [b"\r", b"\n", b"\r\n", b"\0", b"\xff", b" ", b":", b",", b"0\r\n\r\n", b"HTTP/1.1", b"\t", b"{", b'"']
_LAST_CHUNKS = [b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"ffffffffff\r\n", b"-1\r\n"]


def request(rng: random.Random) -> bytes:
    """One request, valid or nearly valid."""
    body = rng.choice(_BODIES)
    lines = [b" ".join((rng.choice(_METHODS), rng.choice(_TARGETS), rng.choice(_VERSIONS))), b"Host: localhost"]
    lines += rng.sample(_HEADERS, rng.choice((0, 0, 0, 1, 1, 4)))
    if rng.random() < 0.9:
        lines.append(b"Content-Type: application/" + (b"x-ndjson" if b"/stream" in lines[0] else b"json"))
    framing = rng.random()
    if framing < 0.6:
        lines.append(b"Content-Length: %d" % len(body))
    elif framing < 0.8:
        lines.append(b"Transfer-Encoding: chunked")
        body = _chunked(body, rng)
    elif framing < 0.9:
        lies = (b"-1", b"1e3", b"0x10", b"99999999999999999999", b"", b"5, 5", b"%d" % (len(body) + 1), b"+1")
        lines.append(b"Content-Length: " + rng.choice(lies))
    if framing > 0.97:
        lines += [b"Content-Length: 5", b"Transfer-Encoding: chunked"]
    return b"\r\n".join([*lines, b"", body])


def _chunked(body: bytes, rng: random.Random) -> bytes:
    step = rng.randint(1, 200)
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join([*(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), rng.choice(_LAST_CHUNKS)])


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with a few of them removed, repeated, changed or inserted."""
    for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
        at = rng.randrange(len(data) + 1)
        end = at + rng.choice((1, 1, 2, 8, 40))
        kind = rng.randrange(5)
        if kind == 0:
            data = data[:at] + data[end:]
        elif kind == 1:
            data = data[:end] + data[at:]
        elif kind == 2:
            data = data[:at] + rng.randbytes(end - at) + data[end:]
        elif kind == 3:
            data = data[:at] + rng.choice(_FRAGMENTS) + data[at:]
        else:
            data = data[:at] + data[at:end].swapcase() + data[end:]
    return data


class ResponseReader:
    """Reads the responses of one connection; raises `httptools.HttpParserError` if they are not valid HTTP."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.statuses.append(self._parser.get_status_code())

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


@dataclass
class Report:
    """Counts of a run; `errors` describes each connection that broke a rule."""

    connections: int = 0
    sent_bytes: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


async def _client(host: str, port: int, seed: int, report: Report) -> None:
    rng = random.Random(seed)
    data = b"".join(damaged(request(rng), rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    ending = rng.choice(("wait", "wait", "half-close", "close", "reset"))
    responses, received = ResponseReader(), b""
    reader, writer = await asyncio.open_connection(host, port)
    report.connections += 1
    report.sent_bytes += len(data)
    try:
        async with asyncio.timeout(HANG_S):
            with contextlib.suppress(OSError):
                for piece in _pieces(data, rng):
                    writer.write(piece)
                    await writer.drain()
                    if rng.random() < 0.2:
                        await asyncio.sleep(rng.random() / 100)
                if ending == "half-close":
                    writer.write_eof()
                while ending in {"wait", "half-close"} and (part := await reader.read(65536)):
                    received += part
                    responses.feed(part)
    except TimeoutError:
        report.errors.append(f"{seed}: the connection did not end")
    except httptools.HttpParserError as error:
        report.errors.append(f"{seed}: the response is not valid HTTP ({error})")
    finally:
        if ending == "reset":
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):  # the server may have closed the connection
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
    report.statuses.update(responses.statuses)
    if CANARY in received:
        report.errors.append(f"{seed}: the response quotes the request")
    if any(status >= 500 and status != 505 for status in responses.statuses):  # 505 is for the version of HTTP
        report.errors.append(f"{seed}: the responses have the statuses {responses.statuses}")


def _pieces(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3, 20))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def _run(address: str, connections: int, concurrency: int, seed: int) -> Report:
    host, _, port = address.removeprefix("http://").rpartition(":")
    report, numbers = Report(), iter(tqdm(range(connections), "connections", disable=None))

    async def work() -> None:
        for number in numbers:
            await _client(host, int(port), seed + number, report)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work())
    return report


def _open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def fuzz(connections: int, *, concurrency: int = 100, seed: int = 0) -> Report:
    """Send broken HTTP to a server over this many connections, then check the server itself."""
    with serve(**SETTINGS) as server:
        asyncio.run(_run(server.address, 200, concurrency, -1000))  # opens what the process opens once
        files = _open_files(server)
        report = asyncio.run(_run(server.address, connections, concurrency, seed))
        valid = server.post({"text": "good"}, headers={"Connection": "close"})
        if valid.status_code != 200:
            report.errors.append(f"afterwards a valid request gets {valid.status_code}")
        try:
            until(lambda: _open_files(server) <= files)
        except AssertionError:
            report.errors.append(f"{_open_files(server) - files} sockets are left open")
        if server.metric("process_open_fds") == 0:
            report.errors.append("no metrics")
        if CANARY in server.log.read_bytes():
            report.errors.append("the log quotes a request")
        if errors := server.events("unexpected error"):
            report.errors.append(f"{len(errors)} unexpected errors in the log")
    return report


def main() -> None:
    """Fuzz, and print a summary; exit with 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--connections", type=int, default=20_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first connection; each has the next (%(default)s)")
    args = parser.parse_args()
    report = fuzz(args.connections, seed=args.seed)
    statuses = ", ".join(f"{count} times {status}" for status, count in sorted(report.statuses.items()))
    print(
        f"{report.connections} connections, {report.sent_bytes} bytes, {report.statuses.total()} responses: {statuses}"
    )
    if report.errors:
        sys.exit("\n".join([f"{len(report.errors)} errors:", *report.errors[:20]]))
    print("no server errors, no invalid HTTP, no quoted requests; every connection ended")


if __name__ == "__main__":
    main()
