"""The end of a server while jobs are sent."""

import signal
import threading
from collections.abc import Iterator

import httpx

from tests.support.jobs import Stack
from tests.support.process import serve

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\ntext\n'
END = b"good\n\r\n--b--\r\n"


def test_an_upload_in_progress_is_finished_before_the_end(stack: Stack) -> None:
    sent, goes_on = threading.Event(), threading.Event()
    responses: list[httpx.Response] = []

    def body() -> Iterator[bytes]:
        yield HEAD
        sent.set()
        assert goes_on.wait(60)
        yield END

    def upload(address: str) -> None:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        responses.append(httpx.post(f"{address}/jobs/inference", content=body(), headers=headers, timeout=60))

    with serve(backend="mock", **stack.settings) as server:
        thread = threading.Thread(target=upload, args=[server.address])
        thread.start()
        assert sent.wait(60)
        server.get("/info")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_for("draining")["in_flight"] == 1
        goes_on.set()
        thread.join(60)
        assert server.wait() == 0
    assert responses[0].status_code == 202
