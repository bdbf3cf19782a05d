"""An account in which nothing happens costs the same little, however large its mailbox is."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mirrored, Upstream

SIZES = (100, 5000)
POLLS = 20


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count what is sent to Postgres within the with block, by the first words."""
    counted: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name in ("execute", "executemany", "copy", "stream"):
            inner = getattr(psycopg.Cursor, name)

            def counting(self: Any, statement: Any, *arguments: Any, _inner: Any = inner, **more: Any) -> Any:
                text = statement.decode() if isinstance(statement, bytes) else str(statement)
                counted[" ".join(text.split()[:3])] += 1
                return _inner(self, statement, *arguments, **more)

            patch.setattr(psycopg.Cursor, name, counting)
        yield counted


def poll(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Counter[str]]:
    """Do what a task of queue `live` does; returns requests and statements."""
    mirrored.sql("update sync.accounts set next_due_at = sync.now() where id = %s", mirrored.id)
    last = mirrored.box.last_request()
    with statements(monkeypatch) as counted:
        assert mirrored.mirror.take_turn(mirrored.id, "live").quiet
    return len(mirrored.box.requests(last)), counted


@pytest.mark.fault("S8")
def test_a_poll_of_an_idle_account_costs_the_same_for_any_mailbox_and_every_time(
    calm_upstream: Upstream, mirror_of: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[tuple[int, Counter[str]]] = []
    for size in SIZES:
        mirrored = mirror_of(calm_upstream.mailbox(size))
        assert mirrored.sync(60).quiet
        poll(mirrored, monkeypatch)
        mirrored.sql("analyze")
        written, versions = mirrored.written(), mirrored.versions()
        assert written["messages"] >= size
        mirrored.mirror.engine.connect().close()  # a new connection's first words are not the poll's
        poll(mirrored, monkeypatch)
        costs += [poll(mirrored, monkeypatch) for _ in range(POLLS)]
        assert mirrored.written() == written, "rows were written in schema mail"
        assert mirrored.versions() == versions
    first, *others = costs
    assert len(others) == len(SIZES) * POLLS - 1
    assert first[0] == 1, "one request"
    assert all(other == first for other in others), costs
    assert first[1].total() < 30, first
    sys.stdout.write(f"a poll: {first[0]} request, {first[1].total()} statements {dict(first[1])}\n")
