"""What the connection to Redis is made of."""

from pathlib import Path

import pytest
from redis import exceptions

from app.errors import NotReady, SetupError
from app.jobs.connection import connect, translated
from app.jobs.options import JobOptions
from app.serving import RedisStore, SharedCacheOptions


def options(url: str, password_file: Path | None = None) -> JobOptions:
    return JobOptions(url, "store", (), 60, 3, 10, 4096, 1024, password_file)


def test_a_file_may_have_the_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    for url in ("redis://a.example", "rediss://user@a.example:6380/2"):
        with connect(options(url, tmp_path / "password")) as client:
            assert client.connection_pool.connection_kwargs["password"] == "secret"


def test_a_password_in_the_url_counts_first(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    with connect(options("redis://user:other@a.example", tmp_path / "password")) as client:
        assert client.connection_pool.connection_kwargs["password"] == "other"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nothing"
    with pytest.raises(SetupError, match=f"^SENTIMENT_REDIS_PASSWORD_FILE: {file}: No such file"):
        connect(options("redis://a.example", file))
    with pytest.raises(SetupError, match=f"^SENTIMENT_CACHE_REDIS_PASSWORD_FILE: {file}: No such file"):
        RedisStore(SharedCacheOptions("redis://a.example", file))


def test_a_url_that_is_not_valid_is_named() -> None:
    with pytest.raises(SetupError, match="REDIS_URL"):
        connect(options("redis://a.example:port"))


@pytest.mark.parametrize("option", ["what=1", "socket_timeout=secret"])
def test_an_option_that_is_not_valid_is_refused_at_once(option: str) -> None:
    with pytest.raises(SetupError, match=r"^SENTIMENT_REDIS_URL: an option after \? is not valid$"):
        connect(options(f"redis://a.example/0?{option}"))


def test_an_option_of_tls_that_is_not_valid_is_refused_at_once() -> None:
    with pytest.raises(SetupError, match=r"^SENTIMENT_REDIS_URL: an option after \? is not valid$"):
        connect(options("rediss://a.example/0?ssl_cert_reqs=secret"))
    with pytest.raises(SetupError, match=r"^SENTIMENT_CACHE_REDIS_URL: an option after \? is not valid$"):
        RedisStore(SharedCacheOptions("rediss://a.example/0?ssl_cert_reqs=secret"))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (exceptions.AuthenticationError("invalid username-password pair"), "refuses the password"),
        (exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'"), "out of memory"),
        (exceptions.ResponseError("unknown command"), "refuses a command"),
        (exceptions.ConnectionError("refused"), "cannot be reached"),
    ],
)
def test_a_redis_that_cannot_be_used_has_a_reason(error: Exception, why: str) -> None:
    with pytest.raises(NotReady, match=why), translated():
        raise error
