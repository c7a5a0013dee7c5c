"""`rt-sentiment models list --url`: what a server serves."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ..console import print_json, print_table
from ..exits import OK, Failure

_GIVE_UP_S = 10.0
_COLUMNS = ("model", "version", "state", "weight", "golden texts", "requests", "source", "reason")


def print_live(url: str, api_key: str | None, *, as_json: bool) -> int:
    """Print the models of a server. Raises `Failure` if it cannot be reached or has no such list."""
    answer = _fetch(url, api_key)
    if as_json:
        print_json(answer)
        return OK
    rows = []
    for model in answer["models"]:
        name = f"{model['name']} (default)" if model["default"] else model["name"]
        rows += [
            (
                name, version["version"] or "", version["state"],
                "shadow" if version["shadow"] else f"{version['weight']:g}", _golden(version["golden"]),
                f"{version['requests']:,}", version["source"], version["reason"] or "",
            )
            for version in model["versions"]
        ]  # fmt: skip
    print_table(_COLUMNS, rows, numbers=(3, 4, 5))
    return OK


def _fetch(url: str, api_key: str | None) -> Any:
    from ..score.remote import Server, detail_of  # imports numpy, which `--help` does not need

    with closing(Server(url, api_key, give_up_s=_GIVE_UP_S)) as server:
        status, answer = server.call("GET", "/models")
    if status == 404:
        raise Failure(f"{server.url}: it has no list of models; is it an older version?")
    if status >= 400 and isinstance(answer, dict):
        raise Failure(f"{server.url}: {detail_of(answer)}")
    if status != 200 or not isinstance(answer, dict) or "models" not in answer:
        raise Failure(f"{server.url}: no rt-sentiment server answers there ({status})")
    return answer


def _golden(result: Mapping[str, Any] | None) -> str:
    return f"{100 * result['agreement']:.1f} % of {result['texts']}" if result else ""
