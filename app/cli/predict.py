"""`rt-sentiment predict`: one line of output for each text, in their order."""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from .exits import FAILED, INTERRUPTED, OK, Failure
from .explanation import print_explanation
from .flags import MODEL_SETTINGS, read_settings, setting_flags

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import LongText, Prediction, WordWeight


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
@click.option(
    "--explain",
    is_flag=True,
    help="Show how much each word speaks for the label: in colours on a terminal, otherwise in `explanation`.",
)
@click.option("--json", "as_json", is_flag=True, help="With --explain: print JSON on a terminal, too.")
@setting_flags(MODEL_SETTINGS)
def predict(texts: tuple[str, ...], long_text: "LongText", *, explain: bool, as_json: bool, **flags: Any) -> int:
    """Print the sentiment of each TEXT, one JSON object per line.

    Without arguments, each line of standard input is a text.
    """
    settings = read_settings(flags)
    in_words = explain and not as_json and sys.stdout.isatty()
    show = print_explanation if in_words else _print_json
    try:
        return _predict(settings, texts or _lines(sys.stdin), long_text, explain, show)
    except KeyboardInterrupt:
        return INTERRUPTED


def _lines(stream: TextIO | None) -> Iterator[str]:
    """Yield the lines, which end with a line feed and nothing else, as for `wc`, `paste` and `sed`.

    Bytes that are not valid become surrogates, as in the arguments of the command.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape", newline="\n")
    return (line.removesuffix("\n") for line in stream or ())


Show = Callable[[str, "Prediction", "Sequence[WordWeight] | None"], None]


def _print_json(_text: str, prediction: "Prediction", words: "Sequence[WordWeight] | None") -> None:
    explanation = {} if words is None else {"explanation": [word.render() for word in words]}
    print(json.dumps(prediction.render() | explanation), flush=True)


def _predict(settings: "Settings", texts: Iterable[str], long_text: "LongText", explain: bool, show: Show) -> int:
    from .. import logs
    from ..errors import InvalidInput, SentimentError
    from ..serving import MAX_EXPLAINED_CHARS, weigh_words
    from .scorer import load_model

    logs.configure("console", "warning")
    try:
        model = load_model(settings)
    except SentimentError as error:
        raise Failure(str(error)) from None
    status = OK
    for number, text in enumerate(texts, 1):
        detail = ""
        code = 400  # the status that a request with this text would get
        words = None
        if not _is_valid(text):
            detail = "the text is not valid UTF-8"
        elif explain and len(text) > MAX_EXPLAINED_CHARS:
            code, detail = 413, f"only texts of at most {MAX_EXPLAINED_CHARS} characters can be explained"
        else:
            try:
                (prediction,) = model.predict([text], long_text=long_text)
                if explain:
                    words = weigh_words(text, prediction, partial(model.predict, long_text=long_text))
            except SentimentError as error:
                code, detail = 422 if isinstance(error, InvalidInput) else 500, str(error)
        if detail:
            print(f"rt-sentiment: text {number}: {detail}", file=sys.stderr)
            print(json.dumps({"error": {"status": code, "detail": detail}}), flush=True)
            status = FAILED
        else:
            show(text, prediction, words)
    return status


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
