"""`rt-sentiment key`."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, help="file of API keys (SENTIMENT_API_KEYS_FILE); running servers notice the change"
    )
    parser.add_argument("name", help="name of the client that owns the key; it appears in the logs")
    parser.add_argument(
        "--expires",
        metavar="90d|12h|DATE",
        help="when the key ends: after days or hours, or at the start of a day in UTC, such as 2027-01-31; "
        "by default, never",
    )
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        default=[],
        help="what the key is for: predict, jobs or admin; may be given several times [predict]",
    )


def run(args: argparse.Namespace) -> int:
    from ..access import SCOPES, add_key, parse_expiry
    from ..errors import KeysError

    if unknown := [scope for scope in args.scope if scope not in SCOPES]:
        print(f"rt-sentiment: --scope {unknown[0]}: expected {', '.join(SCOPES)}", file=sys.stderr)
        return 2
    try:
        expires = None if args.expires is None else parse_expiry(args.expires)
    except (ValueError, OverflowError):
        print("rt-sentiment: --expires: expected 90d, 12h or a date in the future", file=sys.stderr)
        return 2
    try:
        print(add_key(args.file, args.name, expires=expires, scopes=list(dict.fromkeys(args.scope))))
    except KeysError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    return 0
