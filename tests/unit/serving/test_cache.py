from app.serving.cache import Cache


def test_the_least_recently_used_value_is_evicted_first() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.finish("a", 1)
    cache.finish("b", 2)
    assert cache.get("a") == 1
    cache.finish("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert len(cache) == 2


def test_work_is_in_flight_until_it_finishes() -> None:
    cache: Cache[str, int, object] = Cache(2)
    work = object()
    assert cache.in_flight("a") is None
    cache.start("a", work)
    assert cache.in_flight("a") is work
    assert cache.get("a") is None
    cache.finish("a", 1)
    assert cache.in_flight("a") is None
    assert cache.get("a") == 1


def test_work_that_fails_leaves_nothing_behind() -> None:
    cache: Cache[str, int, object] = Cache(2)
    cache.start("a", object())
    cache.finish("a", None)
    assert cache.in_flight("a") is None
    assert cache.get("a") is None


def test_a_cache_without_entries_still_shares_work() -> None:
    cache: Cache[str, int, object] = Cache(0)
    cache.start("a", "work")
    assert cache.in_flight("a") == "work"
    cache.finish("a", 1)
    assert cache.get("a") is None
