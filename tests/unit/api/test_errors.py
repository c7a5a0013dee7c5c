"""Unexpected errors become responses that tell the client nothing internal."""

import httpx
import pytest

from app.config import load_settings
from app.main import create_app


class Panic(BaseException):
    """An error as libraries written in Rust raise it."""


@pytest.mark.parametrize("error", [ValueError, Panic])
async def test_an_unexpected_error_is_a_500_without_its_message(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(load_settings({"backend": "mock"}))

    @app.fastapi.get("/broken")
    async def broken() -> None:
        raise error("internal words")

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        response = await http.get("/broken", headers={"x-request-id": "abc"})
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["x-request-id"] == "abc"
    assert "internal words" not in response.text + caplog.text
