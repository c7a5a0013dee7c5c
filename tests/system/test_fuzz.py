"""A short run of `make fuzz`, and tests of the fuzzer itself."""

import random

import httptools
import pytest

from tests.robustness.fuzz import ResponseReader, damaged, fuzz, request


def test_broken_http_never_causes_a_server_error() -> None:
    report = fuzz(800)
    assert not report.errors
    assert report.connections == 800
    assert {200, 400, 404, 405, 408, 415, 422} <= report.statuses.keys()


def test_a_seed_always_generates_the_same_request() -> None:
    requests = [damaged(request(rng), rng) for rng in (random.Random(3), random.Random(3))]
    assert requests[0] == requests[1]


def test_responses_are_read_in_pieces_and_invalid_ones_raise() -> None:
    reader = ResponseReader()
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\nokHTTP/1.1 404 N", b"o\r\nContent-Length: 0\r\n\r\n"]
    for piece in pieces:
        reader.feed(piece)
    assert reader.statuses == [200, 404]
    with pytest.raises(httptools.HttpParserError):
        reader.feed(b"{}")
