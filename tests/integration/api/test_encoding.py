"""Bodies are UTF-8, with or without a byte order mark; the error of another encoding says so."""

import codecs

import httpx
import pytest

from tests.support.process import Server

BODIES = {"/predict": '{"text": "good é"}', "/predict/batch": '{"texts": ["good é"]}'}


def post(server: Server, path: str, body: bytes) -> httpx.Response:
    return httpx.post(f"{server.address}{path}", content=body, headers={"content-type": "application/json"}, timeout=30)


@pytest.mark.parametrize("path", BODIES)
def test_a_byte_order_mark_is_skipped(mock_server: Server, path: str) -> None:
    with_mark = post(mock_server, path, codecs.BOM_UTF8 + BODIES[path].encode())
    assert with_mark.status_code == 200
    assert with_mark.json() == post(mock_server, path, BODIES[path].encode()).json()


def test_a_byte_order_mark_is_skipped_with_bad_texts_too(mock_server: Server) -> None:
    response = post(mock_server, "/predict/batch", codecs.BOM_UTF8 + b'{"texts": ["good", 1], "partial": true}')
    assert response.status_code == 200


def test_the_mark_may_come_in_a_chunk_of_its_own(mock_server: Server) -> None:
    chunks = iter([b"\xef", b"\xbb\xbf", b'{"text": "good"}'])
    headers = {"content-type": "application/json"}
    assert httpx.post(f"{mock_server.address}/predict", content=chunks, headers=headers, timeout=30).status_code == 200


@pytest.mark.parametrize("body", [codecs.BOM_UTF8, 2 * codecs.BOM_UTF8 + b'{"text": "good"}'])
def test_a_mark_does_not_make_json(mock_server: Server, body: bytes) -> None:
    assert post(mock_server, "/predict", body).status_code == 400


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1", "shift_jisx0213"]
)
def test_another_encoding_gets_a_clear_400(mock_server: Server, path: str, encoding: str) -> None:
    response = post(mock_server, path, BODIES[path].encode(encoding))
    assert response.status_code == 400
    assert response.json()["detail"] == "the body is not valid JSON: its encoding is not UTF-8"


def test_other_syntax_errors_name_the_place(mock_server: Server) -> None:
    response = post(mock_server, "/predict", '{"text": "é" "b"}'.encode())
    assert response.json()["detail"].startswith("the body is not valid JSON, at line 1 column ")
