"""Which route a path belongs to."""

import pytest

from app.api.routes import Routes

ROUTES = Routes(["/", "/predict", "/models/{name}", "/models/{name}/ready", "/models/{name}/versions/{version}"])


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/predict", "/predict"),
        ("/models/a", "/models/{name}"),
        ("/models/{name}", "/models/{name}"),
        ("/models/a/ready", "/models/{name}/ready"),
        ("/models/a/versions/1.0", "/models/{name}/versions/{version}"),
        ("/models", None),
        ("/models/", None),
        ("/models/a/", None),
        ("/models/a/b", None),
        ("/models/a\n", "/models/{name}"),  # such a path never gets here: it is no path for the context
        ("/predict/a", None),
        ("", None),
    ],
)
def test_a_path_belongs_to_the_route_with_its_segments(path: str, route: str | None) -> None:
    assert ROUTES.find(path) == route
    assert (path in ROUTES) == (route is not None)


def test_without_parameters_only_the_routes_themselves_match() -> None:
    assert Routes(["/predict"]).find("/predict") == "/predict"
    assert Routes(["/predict"]).find("") is None
    assert 5 not in Routes([])
