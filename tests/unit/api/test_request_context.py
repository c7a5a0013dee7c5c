"""The context of a request: its id, its client, its headers and its status."""

import re
from typing import Any

import pytest

from app.access import Quota
from app.api.context import begin, context_of
from tests.support.client import scope_of


@pytest.mark.parametrize("given", ["a", "abc-123", "!~", "x" * 128, "  abc  "])
def test_the_request_id_of_the_client_is_kept(given: str) -> None:
    assert begin(scope_of(headers={"x-request-id": given})).request_id == given.strip()


@pytest.mark.parametrize("given", [None, "", "  ", "x" * 129, "a b", "a\tb", "a\x7f", "\x00", "é", "a\r\nb"])
def test_any_other_request_id_is_replaced(given: str | None) -> None:
    contexts = [begin(scope_of(headers={"x-request-id": given} if given is not None else {})) for _ in range(2)]
    ids = {context.request_id for context in contexts}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_the_address_of_the_client_is_kept(address: str) -> None:
    scope = scope_of(client=(address, 1))
    assert begin(scope).client == address
    assert scope["client"] == (address, 1)


@pytest.mark.parametrize(
    "address", ["", "secret words", "192.0.2.256", "fe80::1%secret", "1" * 46, "192.0.2.1, 10.0.0.1"]
)
def test_what_is_not_an_address_is_dropped(address: str) -> None:
    """A trusted proxy passes on what its clients write into X-Forwarded-For."""
    scope = scope_of(client=(address, 0))
    assert begin(scope).client is None
    assert scope["client"] is None


@pytest.mark.parametrize("fields", [{"client": None}, {"client": ["192.0.2.1", 1]}])
def test_servers_may_give_no_address_or_a_list(fields: dict[str, Any]) -> None:
    scope = scope_of() | fields
    context = begin(scope)
    assert context.client == (fields["client"] and "192.0.2.1")
    assert context_of(scope) is context


def test_the_first_of_two_headers_with_the_same_name_counts() -> None:
    scope = scope_of() | {"headers": [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]}
    assert begin(scope).headers == {b"x-a": b"1", b"x-b": b"2"}


def test_an_existing_state_is_kept() -> None:
    scope = scope_of(state={"mine": 1})
    context = begin(scope)
    assert scope["state"] == {"mine": 1, "context": context}


def test_quota_model_and_timings_are_headers_once_they_are_known() -> None:
    context = begin(scope_of())
    names = [name for name, _ in context.response_headers()]
    assert b"server-timing" not in names
    assert b"ratelimit-limit" not in names
    assert b"x-model" not in names
    context.quota = Quota(10, 9, 8, passed=True)
    context.timings_ms = (1.234, 5, 6)
    context.model = "m@1"
    headers = dict(context.response_headers())
    quota = [headers[b"ratelimit-limit"], headers[b"ratelimit-remaining"], headers[b"ratelimit-reset"]]
    assert quota == [b"10", b"9", b"8"]
    assert headers[b"x-model"] == b"m@1"
    assert headers[b"server-timing"].startswith(b"tokenize;dur=1.23, queue;dur=5.00, infer;dur=6.00, total;dur=")


def test_a_request_without_a_response_counts_as_499() -> None:
    context = begin(scope_of())
    assert context.final_status == 499
    context.status = 200
    assert context.final_status == 200
