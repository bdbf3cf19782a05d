"""Two spellings of one address are one person; nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.store.addresses import LONGEST, normalised


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        ("  ann@example.com ", "ann@example.com"),
        ("ann.b+c@example.com", "ann.b+c@example.com"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("STRASSE@example.com", "strasse@example.com"),
        ('"Quoted @ part"@example.com', '"quoted @ part"@example.com'),
        ("undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("Jürgen", "jürgen"),
        ("@", "@"),
        ("", None),
        ("   ", None),
        (None, None),
    ],
)
def test_the_normal_form(written: str | None, address: str | None) -> None:
    assert normalised(written) == address


@pytest.mark.fault("D9")
@given(st.text())
def test_any_text_has_a_normal_form_that_fits_into_an_index(text: str) -> None:
    address = normalised(text.encode("utf-8", "ignore").decode())
    assert address is None or len(address.encode()) <= max(LONGEST, 200 * 4 + 65)


@given(st.emails())
def test_the_normal_form_is_its_own(email: str) -> None:
    address = normalised(email)
    assert normalised(address) == address


def test_a_very_long_address_keeps_its_beginning_and_is_told_from_others() -> None:
    one, other = (normalised("a" * 400 + tail + "@example.com") for tail in "xy")
    assert one is not None
    assert other is not None
    assert one[:201] == other[:201] == "a" * 200 + "#"
    assert one != other
