"""Flags of the benchmarks are checked before anything is measured."""

import argparse

import pytest

from perf.load.flags import base_url, list_length, positive, positive_integer, share


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "soon", ""])
def test_a_number_that_cannot_be_a_limit_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a number above 0, not '{text}'"):
        positive(text)


@pytest.mark.parametrize("text", ["-0.1", "1.01", "nan", "inf", "1%"])
def test_a_share_is_a_number_from_0_to_1(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number from 0 to 1"):
        share(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "30s", ""])
def test_seconds_are_a_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number above 0"):
        positive_integer(text)


@pytest.mark.parametrize("text", ["0", "1", "-2", "1.5", "many", ""])
def test_a_list_has_at_least_two_texts(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number above 1"):
        list_length(text)


def test_valid_values_are_returned_as_numbers() -> None:
    assert (positive("0.5"), share("0"), share("1"), positive_integer("30"), list_length("2")) == (0.5, 0, 1, 30, 2)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://example.com//", "https://example.com"),
        ("https://example.com/sentiment/", "https://example.com/sentiment"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_address_loses_its_slashes_at_the_end(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:8000", "localhost", "ftp://a", "http://", "http:///predict", "http://a:port", "http://a:99999",
     "http://a:0", "http://[::1", "http://a/?b", "http://a/#b", "http://a b", "http://a/?"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected http://host:port"):
        base_url(text)
