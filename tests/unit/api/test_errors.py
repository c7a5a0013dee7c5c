"""Errors become responses that tell the client nothing internal, and repeat nothing that it wrote."""

import json
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from app.api.errors import BodyInvalid, respond_to
from app.api.schemas import BatchRequest, PredictRequest
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


def refusal_of(model: type[BaseModel], body: str) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(body)
    response = respond_to("id", BodyInvalid.from_pydantic(caught.value, model.model_fields))
    assert response is not None
    assert response.status_code == 422
    refusal: dict[str, Any] = json.loads(bytes(response.body))
    return refusal


@pytest.mark.parametrize(
    ("model", "field", "similar"),
    [
        (BatchRequest, "text", "texts"),
        (BatchRequest, "Texts", "texts"),
        (PredictRequest, "texts", "text"),
        (PredictRequest, "topk", "top_k"),
        (PredictRequest, "truncation", "truncate"),
        (PredictRequest, "longText", "long_text"),
    ],
)
def test_an_unknown_field_gets_the_name_of_a_similar_one(model: type[BaseModel], field: str, similar: str) -> None:
    valid = {"texts": ["a"]} if model is BatchRequest else {"text": "a"}
    (error,) = refusal_of(model, json.dumps(valid | {field: 1}))["errors"]
    assert error["loc"] == ["body"]
    assert error["msg"].startswith(f"unknown field (did you mean {similar}?); expected explain, long_text, ")


@pytest.mark.parametrize("field", ["secret", "my private words", "text" * 20, "", "\u200btext\U0001f600 words"])
def test_the_name_of_an_unknown_field_is_not_repeated(field: str) -> None:
    refusal = refusal_of(PredictRequest, json.dumps({"text": "a", field: 1}))
    assert refusal["errors"] == [
        {"loc": ["body"], "msg": "unknown field; expected explain, long_text, model, text, top_k, truncate"}
    ]
