"""HTTPS without a proxy."""

import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from app.cli import main
from tests.support.process import serve
from tests.support.waiting import HANG_S

AUTHORITY = trustme.CA()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    issued = AUTHORITY.issue_cert("127.0.0.1", "localhost")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def test_a_server_with_a_certificate_speaks_only_https(files: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    certificate, key = files
    with serve(backend="mock", tls_cert_file=str(certificate), tls_key_file=str(key)) as server:
        assert server.address.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=server.address, verify=trusting, timeout=HANG_S) as http:
            assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.address.replace("https", "http") + "/livez")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        AUTHORITY.configure_trust(old)
        assert server.get("/livez", verify=old).status_code == 200


def test_unusable_files_prevent_the_start(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, _ = files
    for key in (tmp_path / "none.pem", certificate):
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--port", "0", "--tls-cert-file", str(certificate), "--tls-key-file", str(key)])
        assert ended.value.code == 1
        assert "SENTIMENT_TLS_CERT_FILE/SENTIMENT_TLS_KEY_FILE: " in capsys.readouterr().err
