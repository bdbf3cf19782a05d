"""Sizes and times are read as people write them, and written so that they can be read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.quantities import BYTES, SECONDS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("16777216", 1 << 24),
        ("16MiB", 1 << 24),
        ("16 mib", 1 << 24),
        ("64MB", 64_000_000),
        ("1.5GiB", 3 << 29),
    ],
)
def test_a_size(text: str, value: int) -> None:
    assert BYTES.read(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("45", 45), ("0.1", 0.1), ("200ms", 0.2), ("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000)],
)
def test_a_time(text: str, value: float) -> None:
    assert SECONDS.read(text) == value


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "+1", "nan", "inf", "1e3", "1_000", "1,5", "5 weeks", "1h30m", "\u0661"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    for unit in (BYTES, SECONDS):
        with pytest.raises(ValueError, match="a number of"):
            unit.read(text)


@given(st.integers(0, 1 << 40))
def test_what_is_written_is_read_again(value: int) -> None:
    for unit in (BYTES, SECONDS):
        assert unit.read(unit.write(value)) == value
