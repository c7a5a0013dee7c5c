"""`python -m perf.profile.stream`: rate and memory of `/predict/stream` over a million lines of one request.

The client sends as fast as the server reads, and reads as fast as it can, or for a while not at all (`--pause-s`). The
server's memory is sampled twice a second. The second half of the run counts: its highest value may not be more than
five percent over that of the first half. Each answer must have the next id.
"""

import argparse
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from perf.load.server import running
from perf.load.texts import sentences

_MAX_GROWTH = 0.05
_BLOCK = 1000  # lines that are sent at once
_HEAD = (
    b"POST /predict/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def main() -> None:
    """Stream, print rate and memory, and exit with 1 if an answer is missing or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--backend", default="mock")
    parser.add_argument(
        "--pause-s", type=float, default=0, help="seconds without reading, after a tenth of the answers"
    )
    args = parser.parse_args()
    samples: list[tuple[int, float]] = []
    answered, stop = [0], threading.Event()
    # Without a cache: each line goes to the model.
    command = [sys.executable, "-m", "app", "serve", "--backend", args.backend, "--cache-entries", "0", "--port"]
    with running(command) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        watcher = threading.Thread(target=_watch, args=(address, answered, samples, stop))
        watcher.start()
        started_s = time.monotonic()
        with socket.create_connection((host, int(port))) as connection:
            sender = threading.Thread(target=_send, args=(connection, args.lines), daemon=True)
            sender.start()
            for number, line in enumerate(_answers(connection)):
                if not line.startswith(b'{"id":%d,"label":' % number):
                    sys.exit(f"answer {number} is {line[:100]!r}")
                answered[0] = number + 1
                if args.pause_s and number == args.lines // 10:
                    time.sleep(args.pause_s)
        elapsed_s = time.monotonic() - started_s
        stop.set()
        watcher.join()
    if answered[0] != args.lines:
        sys.exit(f"{answered[0]:,} of {args.lines:,} lines were answered")
    for lines, mib in samples[:: max(1, len(samples) // 20)]:
        print(f"{lines:12,} answers {mib:8.1f} MiB")
    middle = len(samples) // 2
    first, second = (max((mib for _, mib in half), default=0.0) for half in (samples[:middle], samples[middle:]))
    print(f"{args.lines / elapsed_s:,.0f} lines/s over {elapsed_s:.0f} s, {args.pause_s:.0f} s of them paused")
    print(f"highest: {first:.1f} MiB in the first half, {second:.1f} MiB in the second")
    sys.exit(bool(middle) and second > first * (1 + _MAX_GROWTH))


def _send(connection: socket.socket, lines: int) -> None:
    texts = sentences(10_000)
    connection.sendall(_HEAD)
    for start in range(0, lines, _BLOCK):
        numbers = range(start, min(lines, start + _BLOCK))
        block = b"".join(b'{"id":%d,"text":"%b %d"}\n' % (n, texts[n % 10_000].encode(), n) for n in numbers)
        connection.sendall(b"%x\r\n%b\r\n" % (len(block), block))
    connection.sendall(b"0\r\n\r\n")


def _answers(connection: socket.socket) -> Iterator[bytes]:
    """Yield the lines of a response in chunks."""
    with connection.makefile("rb") as file:
        status = file.readline()
        if b" 200 " not in status:
            sys.exit(f"the server answers {status!r}")
        while file.readline().strip():
            pass
        rest = b""
        while size := int(file.readline(), 16):
            *lines, rest = (rest + file.read(size)).split(b"\n")
            file.readline()
            yield from lines
        if rest:
            sys.exit("the last answer is not complete")


def _watch(address: str, answered: list[int], samples: list[tuple[int, float]], stop: threading.Event) -> None:
    port = int(address.rpartition(":")[2])
    status = Path(f"/proc/{_process_at(port)}/status")
    while not stop.wait(0.5):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        samples.append((answered[0], int(fields["VmRSS"].split()[0]) / 1024))


def _process_at(port: int) -> int:
    """Return the id of the process that was started with a port as its last argument."""
    for folder in Path("/proc").glob("[0-9]*"):
        command = (folder / "cmdline").read_bytes().split(b"\0")
        if command[-3:-1] == [b"--port", b"%d" % port]:
            return int(folder.name)
    sys.exit(f"no process listens at port {port}")


if __name__ == "__main__":
    main()
