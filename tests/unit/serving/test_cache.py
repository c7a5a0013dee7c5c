from app.serving.cache import Cache


def test_the_least_recently_used_goes_first() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.land("a", 1)
    cache.land("b", 2)
    assert cache.get("a") == 1
    cache.land("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert len(cache) == 2


def test_a_flight_is_known_until_it_lands() -> None:
    cache: Cache[str, int, object] = Cache(2)
    flight = object()
    assert cache.flight("a") is None
    cache.depart("a", flight)
    assert cache.flight("a") is flight
    assert cache.get("a") is None
    cache.land("a", 1)
    assert cache.flight("a") is None
    assert cache.get("a") == 1


def test_a_flight_that_fails_leaves_nothing_behind() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.depart("a", object())
    cache.land("a", None)
    assert cache.flight("a") is None
    assert cache.get("a") is None


def test_a_cache_of_no_entries_still_shares_flights() -> None:
    cache: Cache[str, int, object] = Cache(0)
    cache.depart("a", "flight")
    assert cache.flight("a") == "flight"
    cache.land("a", 1)
    assert cache.get("a") is None
