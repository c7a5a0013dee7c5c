"""Broken HTTP: a short run of `make fuzz`, and what the fuzzer itself must notice."""

import random

import httptools
import pytest

from tests.robustness.fuzz import Answers, damaged, fuzz, request


def test_nothing_that_clients_send_is_answered_with_an_error_of_the_servers() -> None:
    found = fuzz(800)
    assert not found.wrong
    assert found.connections == 800
    assert {200, 400, 404, 405, 408, 415, 422} <= found.statuses.keys()


def test_a_seed_makes_the_same_request_again() -> None:
    assert [damaged(request(rng), rng) for rng in (random.Random(3), random.Random(3))] == [
        damaged(request(rng), rng) for rng in (random.Random(3), random.Random(3))
    ]


def test_answers_are_read_in_pieces_and_broken_ones_noticed() -> None:
    answers = Answers()
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\nokHTTP/1.1 404 N", b"o\r\nContent-Length: 0\r\n\r\n"]
    for piece in pieces:
        answers.feed(piece)
    assert answers.statuses == [200, 404]
    with pytest.raises(httptools.HttpParserError):
        answers.feed(b"{}")
