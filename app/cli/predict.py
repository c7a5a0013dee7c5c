"""`rt-sentiment predict`: one line of output for each text, in their order."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from .flags import add_flags, read_settings

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import LongText


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Each text gets one line of output, in the same order. For a text that cannot be predicted, the line is "
        '{"error": {"status": ..., "detail": "..."}}, and the exit status is 1.'
    )
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
    add_flags(parser, ("model", "model_digest", "backend", "device", "precision"))


def run(args: argparse.Namespace) -> int:
    settings = read_settings(args)
    try:
        return _predict(settings, map(_decoded, args.texts) if args.texts else _lines(sys.stdin), args.long_text)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it exits
        return 1


def _decoded(argument: str) -> str:
    """Return an argument with a replacement character for each invalid byte, as `_lines` has it."""
    return os.fsencode(argument).decode(sys.getfilesystemencoding(), errors="replace")


def _lines(stream: TextIO | None) -> Iterator[str]:
    """Yield the lines, which end with a line feed and nothing else, as for `wc`, `paste` and `sed`."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace", newline="\n")
    return (line.removesuffix("\n") for line in stream or ())


def _predict(settings: "Settings", texts: Iterable[str], long_text: "LongText") -> int:
    from .. import logs
    from ..errors import InvalidInput, SentimentError
    from ..inference import load_model

    logs.configure("console", "warning")
    try:
        model = load_model(
            settings.model,
            digest=settings.model_digest,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
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
            # The status that a request with this text would get.
            result = {"error": {"status": 422 if isinstance(error, InvalidInput) else 500, "detail": str(error)}}
        else:
            result = prediction.render()
        print(json.dumps(result), flush=True)
    return status
