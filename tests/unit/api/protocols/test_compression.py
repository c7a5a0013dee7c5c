"""Compressed bodies are decompressed as they are read, in small pieces."""

import gzip
import zlib

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.protocols.compression import accepted_encoding, compress, decompressed
from app.errors import MalformedBody, TextTooLong
from tests.support.client import AsgiClient

CONTENT = b"".join(b"%d " % number for number in range(100_000))


async def read(compressed: bytes, encoding: bytes = b"gzip", piece: int = 65536, max_bytes: int = 10**7) -> bytes:
    pieces = [compressed[place : place + piece] for place in range(0, len(compressed), piece)]
    receive = decompressed(AsgiClient(*pieces).receive, encoding, max_bytes)
    content = b""
    more = True
    while more:
        message = await receive()
        assert len(message["body"]) <= 65536
        content += message["body"]
        more = message["more_body"]
    return content


@pytest.mark.parametrize("content", [CONTENT, CONTENT[:65536], CONTENT[: 2 * 65536], b"x", b"", bytes(10**6)])
@pytest.mark.parametrize("piece", [1000, 65536])
async def test_what_was_compressed_is_read(content: bytes, piece: int) -> None:
    assert await read(gzip.compress(content, mtime=0), b"gzip", piece) == content
    assert await read(zlib.compress(content), b"deflate", piece) == content


@pytest.mark.parametrize(
    ("compressed", "message"),
    [
        (b"", "the gzip data of the body is incomplete"),
        (gzip.compress(CONTENT, mtime=0)[:-1], "the gzip data of the body is incomplete"),
        (gzip.compress(CONTENT, mtime=0)[:-30], "the gzip data of the body is incomplete"),
        (gzip.compress(CONTENT, mtime=0) + b"x", "something follows the gzip data of the body"),
        (gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0), "something follows the gzip data of the body"),
        (gzip.compress(CONTENT, mtime=0)[:-8] + bytes(8), "the body is not valid gzip data"),
        (zlib.compress(CONTENT), "the body is not valid gzip data"),
        (CONTENT, "the body is not valid gzip data"),
    ],
)
@pytest.mark.parametrize("piece", [100, 65536])
async def test_what_is_not_compressed_correctly_is_refused(compressed: bytes, message: str, piece: int) -> None:
    with pytest.raises(MalformedBody) as caught:
        await read(compressed, piece=piece)
    assert str(caught.value) == message


async def test_the_compressed_bytes_are_limited() -> None:
    """Empty blocks decompress to nothing."""
    blocks = zlib.compressobj(wbits=31)
    start = blocks.compress(b"") + blocks.flush(zlib.Z_FULL_FLUSH)
    with pytest.raises(TextTooLong, match="larger than 5000 bytes"):
        await read(start + b"\0\0\0\xff\xff" * 2000, max_bytes=5000)


@pytest.mark.parametrize("encoding", [b"br", b"gzip, gzip", b"zstd", b"x-gzip"])
def test_another_encoding_is_415(encoding: bytes) -> None:
    with pytest.raises(HTTPException) as caught:
        decompressed(AsgiClient().receive, encoding, 100)
    assert caught.value.status_code == 415


async def test_a_client_that_leaves_ends_the_reading() -> None:
    client = AsgiClient(gzip.compress(CONTENT, mtime=0)[:100], complete=False)
    client.leave()
    receive = decompressed(client.receive, b"gzip", 10**6)
    await receive()
    with pytest.raises(ClientDisconnect):
        await receive()


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (b"", None),
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip, deflate, br", "gzip"),
        (b"br, DEFLATE;q=0.5", "deflate"),
        (b"gzip;q=0, deflate", "deflate"),
        (b"gzip; q=0.000", None),
        (b"identity, br", None),
        (b"*", None),
    ],
)
def test_a_response_is_compressed_as_the_client_accepts(header: bytes, encoding: str | None) -> None:
    assert accepted_encoding(header) == encoding


def test_a_compressed_response_can_be_read() -> None:
    assert gzip.decompress(compress(CONTENT, "gzip")) == CONTENT
    assert zlib.decompress(compress(CONTENT, "deflate")) == CONTENT
