"""The ring of encoded pictures: what it holds, for any pictures, gaps, keyframes and bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offcamd.encode.packet_ring import GROUP_BYTES, PARTS, PICTURE_BYTES, EncodedPicture, PacketRing, RingMemory

ENDLESS = 1 << 40
films = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4000), st.integers(0, 9)), max_size=150)
"""Of each picture how many frames it is behind the last, its bytes, and whether the encoder made a key of it (0)."""


def filled(span: int, limit: int, film: list[tuple[int, int, int]]) -> tuple[PacketRing, list[EncodedPicture]]:
    """A ring and all that it was given, a key where it asked for one, or where the encoder liked to make one."""
    ring, given_, pts = PacketRing(span), [], -1
    for gap, nbytes, chance in film:
        pts += gap
        key = ring.wants_key(pts, limit) or chance == 0
        picture = EncodedPicture(pts, pts.to_bytes(8, "big") * (nbytes // 8), key)
        ring.add(picture, limit)
        given_.append(picture)
    return ring, given_


def held(ring: PacketRing, begin: int = 0) -> list[EncodedPicture]:
    return [picture for group in ring.since(begin) for picture in group.pictures()]


@given(st.integers(1, 100), films)
def test_it_holds_its_span_and_a_fifth_at_most(span, film):
    ring, pictures = filled(span, ENDLESS, film)
    kept = held(ring)
    assert kept == pictures[len(pictures) - len(kept) :], "the last ones, as they were given, in order"
    assert len(ring) == len(kept)
    if not kept:
        assert not film
        return
    assert kept[0].key
    assert not ring.shortened
    newest, wanted = kept[-1].pts, kept[-1].pts + 1 - span
    assert [each for each in pictures if each.pts >= wanted] == [each for each in kept if each.pts >= wanted]
    keys = [each.pts for each in kept if each.key]
    assert all(later > wanted for later in keys[1:]), "what is older than the key at or before its span is let go"
    lengths = [kept[place - 1].pts - start for start, place in zip(keys, ends(kept), strict=True)]
    assert all(length * PARTS < span or length == 0 for length in lengths)
    assert newest == pictures[-1].pts


def ends(kept: list[EncodedPicture]) -> list[int]:
    """The place behind the last picture of each group."""
    return [place for place in range(1, len(kept) + 1) if place == len(kept) or kept[place].key]


@given(st.integers(1, 100), st.integers(0, 60_000), films)
def test_it_takes_no_more_memory_than_it_may_beside_its_last_group(span, limit, film):
    ring, pictures = filled(span, limit, film)
    kept = held(ring)
    assert ring.nbytes == sum(len(each.data) + PICTURE_BYTES + GROUP_BYTES * each.key for each in kept)
    groups = sum(each.key for each in kept)
    assert ring.nbytes <= limit or groups <= 1
    assert kept == pictures[len(pictures) - len(kept) :]
    lost = [each for each in pictures if each.pts >= pictures[-1].pts + 1 - span and each not in kept]
    assert ring.shortened or not lost


@given(st.integers(1, 60), films.filter(bool), st.integers(-5, 400), st.integers(0, 5))
def test_what_is_asked_for_begins_with_the_last_key_at_or_before_it(span, film, begin, skipped):
    ring, _ = filled(span, ENDLESS, film)
    everything, found = held(ring), held(ring, begin)
    assert found == everything[len(everything) - len(found) :]
    assert found[0].key
    assert found[0].pts <= begin or found == everything
    assert all(each.pts > begin for each in found[1:] if each.key)
    (first, *_) = ring.since(begin)
    skipped = min(skipped, len(first))
    assert list(first.pictures(skipped)) == list(first.pictures())[skipped:]


def test_what_needs_a_picture_that_is_not_there_is_passed_over():
    ring = PacketRing(10)
    ring.add(EncodedPicture(3, b"x", False), ENDLESS)
    assert (len(ring), ring.nbytes, ring.since(0)) == (0, 0, [])


def test_what_is_let_go_takes_no_memory():
    ring, _ = filled(10, ENDLESS, [(1, 100, 1)] * 30)
    ring.clear()
    assert (len(ring), ring.nbytes) == (0, 0)


def test_all_rings_share_what_there_is():
    memory = RingMemory(100, 250)
    assert memory.share == 100
    for share in (100, 100, 83):
        memory.enter()
        assert memory.share == share
    memory.leave()
    assert memory.share == 100
