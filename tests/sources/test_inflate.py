import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import UnreachableError, UnreadableError
from worker.sources import _inflate
from worker.sources._inflate import Inflater

MAIL = b'{"subject": "letter"}' * 50


def inflated(encoding: str, data: bytes, step: int = 1000, cap: int = 1_000_000) -> bytes:
    inflater = Inflater(encoding, cap)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.close()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("step", [1, 3, 100_000])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("", MAIL),
        ("identity", MAIL),
        ("gzip", gzip.compress(MAIL, mtime=0)),
        ("GZIP", gzip.compress(MAIL, mtime=0)),
        ("x-gzip", gzip.compress(MAIL[:100], mtime=0) + gzip.compress(MAIL[100:], mtime=0)),
        ("deflate", zlib.compress(MAIL)),
        ("deflate", raw_deflate(MAIL)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}b",
)
def test_each_encoding_is_undone_however_it_is_cut(encoding: str, data: bytes, step: int) -> None:
    assert inflated(encoding, data, step) == MAIL


@given(st.integers(1, 300), st.integers(1, 50), st.integers(1, 200), st.sampled_from(["gzip", "deflate"]))
def test_nothing_is_held_back_whatever_the_steps(times: int, least: int, at_once: int, encoding: str) -> None:
    body = b"abc0" * times
    packed = raw_deflate(body) if encoding == "deflate" else gzip.compress(body, mtime=0) + gzip.compress(b"", mtime=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_inflate, "LEAST_STEP", least)
        patch.setattr(_inflate, "AT_ONCE", at_once)
        assert inflated(encoding, packed, 3) == body


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(UnreadableError):
        Inflater(encoding, 10)


@given(st.integers(1, len(gzip.compress(MAIL, mtime=0)) - 1))
def test_a_packed_body_that_broke_off_is_told_from_a_whole_one(kept: int) -> None:
    with pytest.raises(UnreachableError) as broken:
        inflated("gzip", gzip.compress(MAIL, mtime=0)[:kept])
    assert broken.value.kind == "broken"


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_garbage_raises_nothing_else(data: bytes, encoding: str) -> None:
    with contextlib.suppress(UnreachableError, UnreadableError):
        inflated(encoding, data, 5)


@pytest.mark.fault("U45")
def test_a_bomb_stops_at_the_cap_and_not_at_the_end_of_memory() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match="larger"):
            inflated("gzip", bomb, step=65536, cap=1_000_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8_000_000


def test_an_endless_body_of_nothing_is_capped_by_what_was_received() -> None:
    empty_members = gzip.compress(b"", mtime=0) * 1000
    with pytest.raises(UnreadableError, match="larger"):
        inflated("gzip", empty_members, cap=1000)
