"""HTTPS, with a certificate that is trusted and with one that is not."""

import ssl

import pytest
import trustme
from rt_sentiment_client import UntrustedServer

from tests.support.both_clients import EITHER, Connect
from tests.support.scripted import respond, scripted
from tests.support.scripted_stream import stream


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@EITHER
async def test_own_certificates_can_be_trusted(
    connect: Connect, authority: trustme.CA, certificate: ssl.SSLContext
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with (
        scripted(respond(), stream(), tls=certificate) as server,
        connect(server.address, ssl_context=trusting) as client,
    ):
        assert (await client.predict("good")).label == "positive"
        assert [result.label for result in await client.stream(["a", "b"])] == ["a", "b"]


@EITHER
async def test_a_server_that_is_not_trusted_is_asked_only_once(connect: Connect, certificate: ssl.SSLContext) -> None:
    async with scripted(respond(), tls=certificate) as server, connect(server.address) as client:
        for call in (client.predict("good"), client.stream(["good"])):
            with pytest.raises(UntrustedServer, match="certificate") as raised:
                await call
            assert raised.value.attempts == 1
    assert server.requests == []
