"""Broken HTTP over raw sockets: `make fuzz`, `python -m tests.robustness.fuzz --connections 1000000`.

Requests are written by a small grammar, damaged, cut into pieces and sent by clients with and without manners. Whatever
comes back must be HTTP, no server error, and hold nothing of what was sent; every connection must end; and when all is
over the process must be as it was.
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
import httpx
from tqdm import tqdm

from tests.support.process import Server, serve

CANARY = b"zq9canary"  # stands for what a user wrote
PATIENCE_S = 10.0  # three times what the settings below leave a connection, for a slow machine
SETTINGS = {"backend": "mock", "header_timeout_s": "1", "body_timeout_s": "1", "keep_alive_s": "1"}

_METHODS = [b"POST"] * 20 + [b"GET", b"OPTIONS", b"PUT", b"PRI", b"CONNECT", b"post", b"", b"POST POST"]
_TARGETS = [b"/predict"] * 20 + [
    b"/predict/batch", b"/", b"/info", b"/metrics", b"/livez", b"/" + CANARY, b"*", b"http://a/predict",
    b"/predict?" + CANARY, b"//predict", b"/%00", b"/../predict", b"/" + b"a" * 9000, b"", b"\xff\xfe",
]  # fmt: skip
_VERSIONS = [b"HTTP/1.1"] * 30 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.11", b"http/1.1", b"", b"HTTP/1.1 x"]
_HEADERS = [
    b"Content-Type: application/json", b"Content-Type: text/plain", b"Accept: " + CANARY, b"Connection: close",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Content-Encoding: gzip",
    b"X-Request-Timeout-Ms: 100", b"X-Request-Timeout-Ms: -1", b"X-Forwarded-For: " + CANARY, b": empty",
    b"X-Request-ID: \xe2\x82\xac", b"no colon", b" folded: line", b"a\tb: c", b"Host:", b"Host: a\r\nHost: b",
    b"X: " + b"y" * 5000, b"Authorization: Bearer " + CANARY, b"Cookie: " + CANARY, b"Trailer: Expires",
    b"TE: trailers", b"Transfer-Encoding: gzip",
]  # fmt: skip
_BODIES = [b'{"text": "good ' + CANARY + b'"}'] * 10 + [
    b'{"texts": ["good", "' + CANARY + b'"]}', b'{"' + CANARY + b'": 1}',
    b"{}", b"[]", b'{"text": ', b'"' + CANARY + b'"', b"\x1f\x8b\x08\x00", b"[" * 3000, b'{"text": "\\ud800"}',
    b'{"text": NaN}', b"",
    b'{"text": "' + CANARY * 2000 + b'"}',
]  # fmt: skip
_SPLINTERS = [b"\r", b"\n", b"\r\n", b"\0", b"\xff", b" ", b":", b",", b"0\r\n\r\n", b"HTTP/1.1", b"\t", b"{", b'"']
_LAST_CHUNKS = [b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"ffffffffff\r\n", b"-1\r\n"]


def request(rng: random.Random) -> bytes:
    """One request, more or less as it should be."""
    body = rng.choice(_BODIES)
    lines = [b" ".join((rng.choice(_METHODS), rng.choice(_TARGETS), rng.choice(_VERSIONS))), b"Host: localhost"]
    lines += rng.sample(_HEADERS, rng.choice((0, 0, 0, 1, 1, 4)))
    if rng.random() < 0.9:
        lines.append(b"Content-Type: application/json")
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
    """The same with a few bytes lost, doubled, changed or put in."""
    for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
        at = rng.randrange(len(data) + 1)
        end = at + rng.choice((1, 1, 2, 8, 40))
        change = rng.randrange(5)
        if change == 0:
            data = data[:at] + data[end:]
        elif change == 1:
            data = data[:end] + data[at:]
        elif change == 2:
            data = data[:at] + rng.randbytes(end - at) + data[end:]
        elif change == 3:
            data = data[:at] + rng.choice(_SPLINTERS) + data[at:]
        else:
            data = data[:at] + data[at:end].swapcase() + data[end:]
    return data


class Answers:
    """Reads the answers of one connection; raises `httptools.HttpParserError` at what is no HTTP."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.statuses.append(self._parser.get_status_code())

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


@dataclass
class Found:
    """What was seen; `wrong` describes each connection that was not as it should be."""

    connections: int = 0
    sent_bytes: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def _client(host: str, port: int, seed: int, found: Found) -> None:
    rng = random.Random(seed)
    data = b"".join(damaged(request(rng), rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    manners = rng.choice(("wait", "wait", "half", "leave", "reset"))
    answers, got = Answers(), b""
    reader, writer = await asyncio.open_connection(host, port)
    found.connections += 1
    found.sent_bytes += len(data)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(OSError):
                for piece in _pieces(data, rng):
                    writer.write(piece)
                    await writer.drain()
                    if rng.random() < 0.2:
                        await asyncio.sleep(rng.random() / 100)
                if manners == "half":
                    writer.write_eof()
                while manners in {"wait", "half"} and (part := await reader.read(65536)):
                    got += part
                    answers.feed(part)
    except TimeoutError:
        found.wrong.append(f"{seed}: the connection did not end")
    except httptools.HttpParserError as error:
        found.wrong.append(f"{seed}: the answer is no HTTP ({error})")
    finally:
        if manners == "reset":
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):  # it may have ended by itself
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
    found.statuses.update(answers.statuses)
    if CANARY in got:
        found.wrong.append(f"{seed}: the answer quotes what was sent")
    if any(status >= 500 for status in answers.statuses):
        found.wrong.append(f"{seed}: answered {answers.statuses}")


def _pieces(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3, 20))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def _run(address: str, connections: int, at_once: int, seed: int) -> Found:
    host, _, port = address.removeprefix("http://").rpartition(":")
    found, numbers = Found(), iter(tqdm(range(connections), "connections", disable=None))

    async def work() -> None:
        for number in numbers:
            await _client(host, int(port), seed + number, found)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    return found


def _open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def fuzz(connections: int, *, at_once: int = 100, seed: int = 0) -> Found:
    """Let so many clients loose on a server; look at it afterwards."""
    with serve(**SETTINGS) as server:
        asyncio.run(_run(server.address, 200, at_once, -1000))  # what is allocated once
        files = _open_files(server)
        found = asyncio.run(_run(server.address, connections, at_once, seed))
        right = httpx.post(f"{server.address}/predict", json={"text": "good"}, headers={"Connection": "close"})
        if right.status_code != 200:
            found.wrong.append(f"afterwards a good request is answered {right.status_code}")
        with httpx.Client(timeout=5) as http:
            for _ in range(100):
                if _open_files(server) <= files:
                    break
                http.get(f"{server.address}/livez", headers={"Connection": "close"})
            else:
                found.wrong.append(f"{_open_files(server) - files} sockets are left open")
        if server.metric("process_open_fds") == 0:
            found.wrong.append("no metrics")
        if CANARY in server.log.read_bytes():
            found.wrong.append("the log quotes what was sent")
        if server.events("unexpected error"):
            found.wrong.append(f"{len(server.events('unexpected error'))} unexpected errors in the log")
    return found


def main() -> None:
    """Fuzz, and print what was seen; exit with 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first connection; its number is added")
    args = parser.parse_args()
    found = fuzz(args.connections, seed=args.seed)
    statuses = ", ".join(f"{count} times {status}" for status, count in sorted(found.statuses.items()))
    print(f"{found.connections} connections, {found.sent_bytes} bytes, {found.statuses.total()} answers: {statuses}")
    if found.wrong:
        sys.exit("\n".join([f"{len(found.wrong)} were not as they should be:", *found.wrong[:20]]))
    print("none was a server's error, no HTTP, or quoted what was sent; every connection ended")


if __name__ == "__main__":
    main()
