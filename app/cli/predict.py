"""`rt-sentiment predict`: one line of output for each text, in their order."""

import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from .exits import FAILED, INTERRUPTED, OK, Failure
from .flags import MODEL_SETTINGS, read_settings, setting_flags

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import LongText


@click.command(
    epilog="Each text gets one line of output, in the same order. For a text that cannot be predicted, the line is "
    '{"error": {"status": ..., "detail": "..."}}, and the exit status is 1.'
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--long-text",
    type=click.Choice(("truncate", "window"), case_sensitive=False),
    default="truncate",
    show_default=True,
    help="What to do with a text that has too many tokens for the model: read only its beginning (truncate), or all of "
    "it (window).",
)
@setting_flags(MODEL_SETTINGS)
def predict(texts: tuple[str, ...], long_text: "LongText", **flags: Any) -> int:
    """Print the sentiment of each TEXT, one JSON object per line.

    Without arguments, each line of standard input is a text.
    """
    settings = read_settings(flags)
    try:
        return _predict(settings, texts or _lines(sys.stdin), long_text)
    except KeyboardInterrupt:
        return INTERRUPTED


def _lines(stream: TextIO | None) -> Iterator[str]:
    """Yield the lines, which end with a line feed and nothing else, as for `wc`, `paste` and `sed`.

    Bytes that are not valid become surrogates, as in the arguments of the command.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape", newline="\n")
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
            abstain_below=settings.abstain_below,
        )
    except SentimentError as error:
        raise Failure(str(error)) from None
    status = OK
    for number, text in enumerate(texts, 1):
        detail = ""
        code = 400  # the status that a request with this text would get
        if not _is_valid(text):
            detail = "the text is not valid UTF-8"
        else:
            try:
                (prediction,) = model.predict([text], long_text=long_text)
            except SentimentError as error:
                code, detail = 422 if isinstance(error, InvalidInput) else 500, str(error)
        if detail:
            print(f"rt-sentiment: text {number}: {detail}", file=sys.stderr)
            status = FAILED
        result = {"error": {"status": code, "detail": detail}} if detail else prediction.render()
        print(json.dumps(result), flush=True)
    return status


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
