"""A form is read while it arrives, however it is cut into pieces."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.exceptions import HTTPException

from app.api import uploads
from app.api.uploads import Form, boundary_of, in_time, values_of
from app.errors import InvalidInput, TextTooLong

FILE = "text\n" + "good \u2028 é\r\n--c not a boundary\r\n" * 50
BODY = (
    '--b\r\nContent-Disposition: form-data; name="text_column"\r\n\r\nbödy\r\n'
    '--b\r\nContent-Disposition: form-data; name="file"; filename="C:\\\\in\\\\a b.csv"\r\n'
    f"Content-Type: text/csv\r\n\r\n{FILE}\r\n"
    '--b\r\nContent-Disposition: form-data; name="no_header"\r\n\r\ntrue\r\n--b--\r\n'
).encode()


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(body: bytes, size: int = 1000) -> tuple[Form, bytes]:
    stored: list[bytes] = []

    async def store(data: bytes) -> None:
        stored.append(data)

    form = Form(b"b", store)
    await form.read(pieces(body, size))
    return form, b"".join(stored)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_form_is_the_same_in_pieces_of_any_size(size: int) -> None:
    form, stored = await read(BODY, size)
    assert stored.decode() == FILE
    assert form.file_name == "a b.csv"
    assert values_of(form.fields) == {"text_column": "bödy", "no_header": True}


async def test_only_a_piece_of_the_file_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_PIECE_BYTES", 64)
    sizes: list[int] = []

    async def store(data: bytes) -> None:
        sizes.append(len(data))

    await Form(b"b", store).read(pieces(BODY, 32))
    assert max(sizes) <= 64 + 32
    assert sum(sizes) == len(FILE.encode())


@pytest.mark.parametrize("cut", [0, 1, 60, len(BODY) // 2, len(BODY) - 8])
async def test_half_a_form_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput, match="not a complete form"):
        await read(BODY[:cut])


def part(name: str, value: bytes = b"x") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


@pytest.mark.parametrize(
    "body",
    [part("a") + part("a"), b"".join(part(f"a{number}") for number in range(30)), part("file") + part("file")],
)
async def test_fields_that_are_there_twice_or_too_many_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        await read(body + b"--b--\r\n")


async def test_a_long_field_is_refused() -> None:
    with pytest.raises(TextTooLong):
        await read(part("a", b"x" * 5000) + b"--b--\r\n")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=b", b"b"),
        ('Multipart/Form-Data; boundary="b c"', b"b c"),
        ("multipart/mixed; boundary=b", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_content_type_says_whether_it_is_a_form(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


async def test_a_client_that_stops_sending_gets_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_IDLE_S", 0.01)

    async def stopping() -> AsyncIterator[bytes]:
        yield b"x" * 10_000_000
        await asyncio.Event().wait()

    with pytest.raises(HTTPException, match="408"):
        async for _ in in_time(stopping()):
            pass


async def test_a_client_that_sends_too_slowly_gets_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_IDLE_S", 0.05)
    monkeypatch.setattr(uploads, "_SLOWEST_BYTES_PER_S", 1e9)

    async def slow() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"x"

    with pytest.raises(HTTPException, match="408"):
        async for _ in in_time(slow()):
            pass


@pytest.mark.parametrize(
    "headers", [b"x: " + b"a" * 100_000, b"".join(b"x%d: a\r\n" % number for number in range(100))]
)
async def test_the_headers_of_a_part_are_limited(headers: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a valid form"):
        await read(b"--b\r\n" + headers)
