"""`rt-sentiment serve` and `rt-sentiment predict`."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import get_args

from app import __version__
from app.config import PREFIX, Settings, SettingsError, load_settings


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the process's exit status is 0, 1 for a failure or 2 for a wrong setting or flag."""
    args = vars(_parser().parse_args(argv))
    command, texts = args.pop("command"), args.pop("texts", [])
    flags = {name: value for name, value in args.items() if value is not None}
    try:
        settings = load_settings(flags)
    except SettingsError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(_serve(settings) if command == "serve" else _predict(settings, texts))


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
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        hint = f"{field.description} [{PREFIX}{name.upper()}={'' if default is None else default}]"
        flag = "--" + name.replace("_", "-")
        kinds = (field.annotation, *get_args(field.annotation))
        metavar = "|".join(choice for kind in kinds for choice in get_args(kind) if isinstance(choice, str))
        serve.add_argument(flag, dest=name, metavar=metavar or name.upper(), help=hint.replace("%", "%%"))
        if name in ("model", "backend", "device", "precision"):
            predict.add_argument(flag, dest=name, metavar=metavar or name.upper(), help=hint.replace("%", "%%"))
    return parser


def _serve(settings: Settings) -> int:
    from app.server import serve  # not at the top: `--help` needs neither web framework nor model

    return serve(settings)


def _predict(settings: Settings, texts: Sequence[str]) -> int:
    from app import logs
    from app.errors import SentimentError
    from app.model import load_model
    from app.text import normalise

    logs.configure("console", "warning")
    try:
        model = load_model(
            settings.model, backend=settings.backend, device=settings.device, precision=settings.precision
        )
    except SentimentError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    failed = False
    for text in texts or (line.rstrip("\n") for line in sys.stdin):
        if not (normalised := normalise(text)):
            print("rt-sentiment: a text has no visible character", file=sys.stderr)
            failed = True
            continue
        result = model.runner.run([model.tokenizer.encode(normalised)])[0]
        if isinstance(result, Exception):
            print(f"rt-sentiment: {result}", file=sys.stderr)
            failed = True
            continue
        scores = {label: round(score, 4) for label, score in result.scores.items()}
        print(json.dumps({"label": result.label, "confidence": round(result.confidence, 4), "scores": scores}))
    return int(failed)
