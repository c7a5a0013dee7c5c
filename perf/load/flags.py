"""Values of command-line flags that have to be within bounds: types for argparse."""

import argparse
import math
import urllib.parse
from collections.abc import Callable


def number(expected: str, is_valid: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a type for finite numbers that fulfil a condition, which the error describes as `expected`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and is_valid(value)):
            raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}")
        return value

    return parse


positive = number("a number above 0", lambda value: value > 0)
share = number("a number from 0 to 1", lambda value: 0 <= value <= 1)


def positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, not {text!r}")
    return int(text)


def list_length(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number above 1, not {text!r}")
    return int(text)


def base_url(text: str) -> str:
    """Return the address of a service, without slashes at its end. Raises `ValueError` if it is none."""
    try:
        url = urllib.parse.urlsplit(text)
        is_valid = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:  # the port is not a number, or the brackets of an IPv6 address do not match
        is_valid = False
    if not is_valid or any(character.isspace() or character in "?#" for character in text):
        raise ValueError(f"expected http://host:port or https://host:port, with or without a path, not {text!r}")
    return text.rstrip("/")
