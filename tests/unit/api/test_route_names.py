"""Logs and metrics name the route of a request, and nothing that a client has written into its path."""

import pytest

from app.api.paths import Paths

PATHS = Paths({"/info", "/jobs", "/jobs/inference", "/jobs/{id}", "/jobs/{id}/events"})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/info", "/info"),
        ("/jobs", "/jobs"),
        ("/jobs/inference", "/jobs/inference"),
        ("/jobs/0f3c", "/jobs/{id}"),
        ("/jobs/0f3c/events", "/jobs/{id}/events"),
        ("/jobs/0f3c/other", None),
        ("/jobs/0f3c/events/x", None),
        ("/jobs/", None),
        ("/other", None),
        ("", None),
    ],
)
def test_a_path_has_the_name_of_its_route(path: str, name: str | None) -> None:
    assert PATHS.name_of(path) == name
    assert (path in PATHS) == (name is not None)
