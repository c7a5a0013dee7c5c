from app.serving.cache import Cache


def test_the_least_recently_used_goes_first() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.finish("a", 1)
    cache.finish("b", 2)
    assert cache.get("a") == 1
    cache.finish("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert len(cache) == 2


def test_a_flight_is_known_until_it_lands() -> None:
    cache: Cache[str, int, object] = Cache(2)
    flight = object()
    assert cache.in_flight("a") is None
    cache.start("a", flight)
    assert cache.in_flight("a") is flight
    assert cache.get("a") is None
    cache.finish("a", 1)
    assert cache.in_flight("a") is None
    assert cache.get("a") == 1


def test_a_flight_that_fails_leaves_nothing_behind() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.start("a", object())
    cache.finish("a", None)
    assert cache.in_flight("a") is None
    assert cache.get("a") is None


def test_a_cache_of_no_entries_still_shares_flights() -> None:
    cache: Cache[str, int, object] = Cache(0)
    cache.start("a", "flight")
    assert cache.in_flight("a") == "flight"
    cache.finish("a", 1)
    assert cache.get("a") is None
