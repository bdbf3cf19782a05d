"""The judge finds every kind of damage, field by field, and believes no digest."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.integration.store.mail import gone, leased, listed, message
from worker.config import Settings
from worker.records import Batch, Difference, Label, Message, Problem
from worker.store.engine import connect
from worker.store.judge import PostgresJudge
from worker.store.rows import Projection

Sql = psycopg.Connection[Any]


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on a fresh database."""
    opened = connect(database)
    yield opened
    opened.dispose()


@pytest.fixture
def judge(engine: Engine) -> PostgresJudge:
    """The judge of an account that mirrors two messages."""
    with leased(engine) as store:
        store.commit(listed(message("m1"), message("m2")))
        return PostgresJudge(engine, store.account_id, Projection.of(Settings()))


def test_an_intact_mirror_shows_no_difference(judge: PostgresJudge) -> None:
    assert judge.differences([message("m1"), message("m2")]) == ()


DAMAGE = [
    ("update mail.messages set subject = 'x' where message_id = 'm1'", "stale", ("subject",)),
    ("update mail.messages set body = null where message_id = 'm1'", "stale", ("body",)),
    ("update mail.messages set created = created + interval '1 s' where message_id = 'm1'", "stale", ("created",)),
    ("update mail.messages set thread_id = 'x' where message_id = 'm1'", "stale", ("thread_id",)),
    ("delete from mail.message_labels where message_id = 'm1' and label_id = 'l2'", "stale", ("labels",)),
    ("insert into mail.message_labels select account_id, message_id, 'l9' from mail.messages", "stale", ("labels",)),
    ("update mail.message_people set name = 'x' where message_id = 'm1' and role = 'to'", "stale", ("people",)),
    ("delete from mail.message_people where message_id = 'm1' and position = 1", "stale", ("people",)),
    ("update mail.attachments set size = 7 where message_id = 'm1'", "stale", ("attachments",)),
    ("delete from mail.messages where message_id = 'm1'", "missing", ()),
    ("update mail.messages set deleted_at = now() where message_id = 'm1'", "missing", ()),
]


@pytest.mark.parametrize(("statement", "kind", "fields"), DAMAGE)
def test_damage_that_leaves_the_digest_is_found(
    judge: PostgresJudge, connection: Sql, statement: str, kind: Any, fields: tuple[str, ...]
) -> None:
    connection.execute(statement)
    assert judge.differences([message("m1")]) == (Difference("m1", kind, fields),)


@pytest.mark.parametrize(
    "changed",
    [
        message("m1", rfc822=None),
        message("m1", raw=b"{}"),
        message("m1", labels=(Label("l2", None), Label("l1", None))),
    ],
)
def test_hints_and_absent_names_are_no_difference(judge: PostgresJudge, changed: Message) -> None:
    assert judge.differences([changed]) == ()


def test_a_renamed_label_is_a_difference(judge: PostgresJudge) -> None:
    renamed = message("m1", labels=(Label("l1", "Inbox"), Label("l2", "UNREAD")))
    assert judge.differences([renamed]) == (Difference("m1", "stale", ("labels",)),)


def test_differences_that_stand_in_an_open_problem_are_excused(engine: Engine, judge: PostgresJudge) -> None:
    with leased(engine) as store:
        store.commit(Batch(stream="windows", problems=(Problem(kind="message", subject="m3", cause="poison"),)))
        store.commit(gone("m1"))
    assert judge.excused(["m1", "m3", "m4"]) == {"m3"}
