"""Bounds and order of eviction of the table of verified tokens."""

from dataclasses import dataclass

from sidecar.core.token_cache import TokenCache


@dataclass(frozen=True)
class Item:
    name: str
    cost_bytes: int = 10


def filled(*names: str, max_entries: int = 3, max_bytes: int = 1000) -> TokenCache[Item]:
    cache: TokenCache[Item] = TokenCache(max_entries=max_entries, max_bytes=max_bytes)
    for name in names:
        cache.put(name.encode(), Item(name))
    return cache


def test_what_was_put_is_found() -> None:
    """An entry is found under its token, an unknown token finds nothing."""
    cache = filled("a")
    assert cache.get(b"a") == Item("a")
    assert cache.get(b"b") is None


def test_the_least_recently_used_goes_first() -> None:
    """A look-up saves an entry from eviction."""
    cache = filled("a", "b", "c")
    cache.get(b"a")
    cache.put(b"d", Item("d"))
    assert cache.get(b"b") is None
    assert cache.get(b"a") == Item("a")
    assert len(cache) == 3


def test_bytes_are_bounded_too() -> None:
    """Entries are evicted until the bytes fit, and the account never drifts."""
    cache = filled("a", "b", "c", max_bytes=35)
    cache.put(b"d", Item("d", 25))
    assert cache.size_bytes == 35
    assert (cache.get(b"a"), cache.get(b"b"), cache.get(b"c")) == (None, None, Item("c"))
    cache.put(b"d", Item("d", 1))
    assert cache.size_bytes == 11
    cache.discard(b"d")
    cache.discard(b"d")
    assert cache.size_bytes == 10


def test_an_entry_larger_than_the_bound_is_not_kept() -> None:
    """Something that can never fit leaves an empty cache rather than an overfull one."""
    cache = filled("a", max_bytes=15)
    cache.put(b"b", Item("b", 16))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_a_cache_of_no_entries_keeps_nothing() -> None:
    """A bound of zero switches the cache off."""
    assert len(filled("a", max_entries=0)) == 0


def test_retain_forgets_the_others() -> None:
    """Entries that no longer hold are gone, with their bytes."""
    cache = filled("a", "b", "c")
    cache.retain(lambda item: item.name == "b")
    assert (len(cache), cache.size_bytes) == (1, 10)
    assert cache.get(b"b") == Item("b")
