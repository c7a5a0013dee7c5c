"""`rt-sentiment key`."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, help="file of API keys (SENTIMENT_API_KEYS_FILE); running servers notice the change"
    )
    parser.add_argument("name", help="name of the client that owns the key; it appears in the logs")


def run(args: argparse.Namespace) -> int:
    from ..access import add_key
    from ..errors import KeysError

    try:
        print(add_key(args.file, args.name))
    except KeysError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    return 0
