"""`rt-sentiment serve`, `rt-sentiment predict` and `rt-sentiment key`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from .. import __version__
from ..config import PREFIX, Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from ..types import LongText


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the process's exit status is 0, 1 for a failure or 2 for a wrong setting or flag."""
    args = vars(_parser().parse_args(argv))
    if args["command"] == "key":
        sys.exit(_key(args["file"], args["name"]))
    command, texts, long_text = args.pop("command"), args.pop("texts", []), args.pop("long_text", None)
    flags = {name: value for name, value in args.items() if value is not None}
    try:
        settings = load_settings(flags)
    except SettingsError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        sys.exit(2)
    if command == "serve":
        sys.exit(_serve(settings))
    try:
        sys.exit(_predict(settings, texts, long_text))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the answers has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rt-sentiment", description="Low-latency text sentiment over HTTP.")
    parser.add_argument("--version", action="version", version=f"rt-sentiment {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="answer over HTTP",
        description="Serve. Each flag is also an environment variable, which stands in brackets with its default.",
    )
    predict = commands.add_parser("predict", help="print the sentiment of texts, one JSON object a line")
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="texts; lines of standard input when there are none")
    predict.add_argument(
        "--long-text",
        choices=("truncate", "window"),
        default="truncate",
        help="read the beginning of a text that is too long for the model, or all of it in windows [%(default)s]",
    )
    key = commands.add_parser("key", help="make an API key and print it; a file keeps its name and hash")
    key.add_argument("file", type=Path, help="for SENTIMENT_API_KEYS_FILE; servers notice the change by themselves")
    key.add_argument("name", help="who is to have it; stands in the logs")
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        hint = f"{field.description} [{PREFIX}{name.upper()}={'' if default is None else default}]"
        flag = "--" + name.replace("_", "-")
        kinds = (field.annotation, *get_args(field.annotation))
        metavar = "|".join(choice for kind in kinds for choice in get_args(kind) if isinstance(choice, str))
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        serve.add_argument(flag, dest=name, metavar=metavar or name.upper(), help=hint.replace("%", "%%"), **switch)
        if name in ("model", "backend", "device", "precision"):
            predict.add_argument(flag, dest=name, metavar=metavar or name.upper(), help=hint.replace("%", "%%"))
    return parser


def _key(file: Path, name: str) -> int:
    from ..access import add_key
    from ..errors import KeysError

    try:
        print(add_key(file, name))
    except KeysError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(settings: Settings) -> int:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the supervisor of several workers has its own
    from ..server import serve  # not at the top: `--help` needs neither web framework nor model

    return serve(settings)


def _predict(settings: Settings, texts: Sequence[str], long_text: "LongText") -> int:
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
    failed = False
    for number, text in enumerate(texts or (line.rstrip("\n") for line in sys.stdin), 1):
        try:
            (found,) = model.predict([text], long_text=long_text)
        except SentimentError as error:
            print(f"rt-sentiment: text {number}: {error}", file=sys.stderr)
            failed = True
            continue
        scores = {label: round(score, 4) for label, score in found.scores.items()}
        shown = {"label": found.label, "confidence": round(found.confidence, 4), "scores": scores}
        print(json.dumps(shown | {"truncated": found.truncated}), flush=True)
    return int(failed)
