"""`rt-sentiment predict`."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .flags import add_flags, read_settings

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import LongText


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="text to predict; without any, each line of standard input is a text"
    )
    parser.add_argument(
        "--long-text",
        type=lambda value: value.strip().lower(),
        choices=("truncate", "window"),
        default="truncate",
        help="what to do with a text that has too many tokens for the model: read only its beginning (truncate), or "
        "all of it (window) "
        "[%(default)s]",
    )
    add_flags(parser, ("model", "backend", "device", "precision"))


def run(args: argparse.Namespace) -> int:
    settings = read_settings(args)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # one invalid byte must not lose the lines after it
    try:
        return _predict(settings, args.texts or (line.rstrip("\n") for line in sys.stdin), args.long_text)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it exits
        return 1


def _predict(settings: "Settings", texts: Iterable[str], long_text: "LongText") -> int:
    from .. import logs
    from ..errors import SentimentError
    from ..inference import load_model

    logs.configure("console", "warning")
    try:
        model = load_model(
            settings.model, backend=settings.backend, device=settings.device, precision=settings.precision
        )
    except SentimentError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    status = 0
    for number, text in enumerate(texts, 1):
        try:
            (prediction,) = model.predict([text], long_text=long_text)
        except SentimentError as error:
            print(f"rt-sentiment: text {number}: {error}", file=sys.stderr)
            status = 1
            continue
        print(json.dumps(prediction.render()), flush=True)
    return status
