import pytest

from app.addresses import Host, parse_host, parse_prefix


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("api.example", Host("api.example", None)),
        ("API.Example.:8000", Host("api.example", 8000)),
        ("127.0.0.1:80", Host("127.0.0.1", 80)),
        ("[::1]", Host("[::1]", None)),
        ("::1", Host("[::1]", None)),
        ("[2001:DB8:0:0::1]:443", Host("[2001:db8::1]", 443)),
        ("my_host", Host("my_host", None)),
    ],
)
def test_spellings_of_one_host_are_equal(value: str, host: Host) -> None:
    assert parse_host(value) == host


@pytest.mark.parametrize(
    "value",
    ["", ".", "http://a", "a/b", "a b", "*.a", "a:", "a:x", "a:65536", "a:80:80", "u@a", "[::1", "[::1]x", "[1.2.3.4]",
     "[fe80::1%eth0]", "ü.example", "a:\u0663", "a\n"],
)  # fmt: skip
def test_what_is_not_a_host_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        parse_host(value)


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("", ""),
        ("/", ""),
        ("/sentiment", "/sentiment"),
        ("sentiment", "/sentiment"),
        ("/Team-1/v1.2/", "/Team-1/v1.2"),
        ("a/~b/", "/a/~b"),
        ("/...", "/..."),
    ],
)
def test_a_prefix_may_have_slashes_around_it(value: str, prefix: str) -> None:
    assert parse_prefix(value) == prefix


@pytest.mark.parametrize(
    "value",
    ["//", "//evil.example", "/a//b", "/a//", "/.", "/a/../b", "https://a.example/b", "javascript:alert(1)", "/a b",
     '/"onload="', "/<script>", "/'", "/a?b", "/a#b", "/a%2fb", "/a\\b", "/a\n", "/a\r\nb: c", "/é", "/a,b", "/{a}"],
)  # fmt: skip
def test_what_is_not_a_prefix_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as /sentiment"):
        parse_prefix(value)
