"""The cache of what was used last."""

from __future__ import annotations

import pytest

from offcamd.web.lru import LruCache


def test_what_was_used_last_is_kept():
    cache: LruCache[str, str] = LruCache(2)
    assert [cache.get(key, str.upper(key).strip) for key in "abac"] == ["A", "B", "A", "C"]
    assert list(cache._kept) == ["a", "c"]


def test_values_are_kept_by_what_they_weigh_one_at_least():
    cache: LruCache[int, list[int]] = LruCache(10, len)
    small = cache.get(1, lambda: [0] * 4)
    cache.get(2, lambda: [0] * 4)
    small.extend([0] * 4)  # a value may grow
    cache.trim()
    assert list(cache._kept) == [2]
    cache.get(3, lambda: [0] * 99)
    assert list(cache._kept) == [3]


def test_what_cannot_be_made_is_not_kept():
    cache: LruCache[int, int] = LruCache(10)
    with pytest.raises(ZeroDivisionError):
        cache.get(1, lambda: 1 // 0)
    assert cache.get(1, lambda: 7) == 7
