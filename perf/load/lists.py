"""Callers who send lists, one after the other."""

import http.client
import itertools
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

_JSON = {"Content-Type": "application/json"}


def lists_per_s(address: str, bodies: Sequence[bytes], seconds: float, callers: int = 2) -> float:
    """Lists a second from the first request to the last answer; what is begun within `seconds` is waited for.

    A load that ends at a given time, as wrk's does, does not count the lists that are under way then: of lists that
    take half a second, a tenth of what was done in four.
    """
    following = itertools.cycle(bodies)
    begun_s = time.perf_counter()

    def call(_: int) -> int:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        done = 0
        while time.perf_counter() - begun_s <= seconds:
            connection.request("POST", "/predict/batch", next(following), _JSON)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                sys.exit(f"a list was answered {response.status}")
            done += 1
        connection.close()
        return done

    with ThreadPoolExecutor(callers) as pool:
        done = sum(pool.map(call, range(callers)))
        return done / (time.perf_counter() - begun_s)
