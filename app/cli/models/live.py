"""`rt-sentiment models list --url`: what a server serves."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ..console import print_json, print_table
from ..exits import OK

GIVE_UP_S = 10.0  # for a server that is away: the answer is a small list
_COLUMNS = ("model", "version", "state", "weight", "share", "golden texts", "requests", "source", "reason")


def print_live(url: str, api_key: str | None, *, as_json: bool) -> int:
    """Print the models of a server. Raises `Failure` if it cannot be reached or has no such list."""
    from ..score.remote import Server, fetch_models  # imports numpy, which `--help` does not need

    with closing(Server(url, api_key, give_up_s=GIVE_UP_S)) as server:
        answer = fetch_models(server)
    if as_json:
        print_json(answer)
        return OK
    rows = []
    for model in answer["models"]:
        name = f"{model['name']} (default)" if model["default"] else model["name"]
        rows += [
            (
                name, version["version"] or "", version["state"],
                "shadow" if version["shadow"] else f"{version['weight']:g}", f"{100 * version['share']:.1f} %",
                _golden(version["golden"]),
                f"{version['requests']:,}", version["source"], version["reason"],
            )
            for version in model["versions"]
        ]  # fmt: skip
    print_table(_COLUMNS, rows, numbers=(3, 4, 5, 6))
    return OK


def _golden(result: Mapping[str, Any] | None) -> str:
    return f"{100 * result['agreement']:.1f} % of {result['texts']}" if result else ""
