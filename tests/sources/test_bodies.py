"""Bodies larger than what is kept are cut when they come in, and the row is the same as if they had not been."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.bodies import beginning
from worker.config import Settings
from worker.records import Message
from worker.sources._bodies import shortened
from worker.store.rows import Projection, row

TEXTS = st.none() | st.text(max_size=60)


@given(st.text(max_size=60), st.integers(0, 80))
def test_a_beginning_is_as_long_as_it_may_be_and_no_character_is_cut(text: str, most: int) -> None:
    part = beginning(text, most)
    assert text.startswith(part)
    assert len(part.encode()) <= most
    assert part == text or len(text[: len(part) + 1].encode()) > most


@pytest.mark.parametrize("bodies", ["full", "text", "none"])
@given(text_body=TEXTS, body=TEXTS, most=st.integers(0, 80))
def test_a_row_does_not_show_where_its_bodies_were_cut(
    bodies: str, text_body: str | None, body: str | None, most: int
) -> None:
    projection = Projection.of(Settings(bodies=bodies, max_body=most))  # type: ignore[arg-type]  # one of its words
    whole = Message(id="m", text_body=text_body, body=body)
    early, late = row(shortened(whole, most), projection), row(whole, projection)
    assert (early.text_body, early.body, early.body_size, early.body_truncated, early.digest) == (
        late.text_body,
        late.body,
        late.body_size,
        late.body_truncated,
        late.digest,
    )


def test_a_message_that_fits_is_passed_on_as_it_is() -> None:
    message = Message(id="m", text_body="short", body="<p>short</p>")
    assert shortened(message, 100) is message
