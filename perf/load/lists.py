"""Closed-loop load of lists: a few clients post one list after another to /predict/batch."""

import http.client
import itertools
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

LIST_SIZE = 256
_JSON = {"Content-Type": "application/json"}


def lists_per_s(address: str, bodies: Sequence[bytes], seconds: float, clients: int = 2) -> float:
    """Lists per second, from the first request to the last response.

    No request starts after `seconds`, but responses to earlier ones are awaited. wrk stops at a fixed time and drops
    the requests in flight; with lists that take half a second, that is a tenth of the work of a 4-second run.
    """
    next_body = itertools.cycle(bodies)
    started_s = time.perf_counter()

    def post_lists(_: int) -> int:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        lists = 0
        while time.perf_counter() - started_s <= seconds:
            connection.request("POST", "/predict/batch", next(next_body), _JSON)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                sys.exit(f"a list got status {response.status}")
            lists += 1
        connection.close()
        return lists

    with ThreadPoolExecutor(clients) as pool:
        lists = sum(pool.map(post_lists, range(clients)))
        return lists / (time.perf_counter() - started_s)
