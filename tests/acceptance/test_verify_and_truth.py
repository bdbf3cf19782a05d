"""`verify` and the judge, which share no code, name the same messages of a mirror that was damaged by hand."""

from collections.abc import Callable

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mirrored, Upstream

CHILDREN = ("message_people", "message_labels", "attachments")
CHOSEN = "(select message_id from mail.messages where account_id = %s order by md5(message_id || '{}') limit {})"


def chosen(salt: str, count: int) -> str:
    """SQL that picks messages as if at random, the same every time."""
    return CHOSEN.format(salt, count)


def drop_one_in_a_hundred(mirrored: Mirrored) -> None:
    ids = [row[0] for row in mirrored.sql(chosen("drop", 6), mirrored.id)]
    for table in ("messages", *CHILDREN):
        mirrored.sql(f"delete from mail.{table} where account_id = %s and message_id = any(%s)", mirrored.id, ids)


def change(assignment: str, salt: str) -> Callable[[Mirrored], None]:
    def damage(mirrored: Mirrored) -> None:
        mirrored.sql(f"update mail.messages set {assignment} where account_id = %s and message_id in {chosen(salt, 5)}",
                     mirrored.id, mirrored.id)  # fmt: skip

    return damage


def take_a_label_off(mirrored: Mirrored) -> None:
    mirrored.sql("delete from mail.message_labels where ctid in (select ctid from mail.message_labels"
                 " where account_id = %s order by message_id limit 3)", mirrored.id)  # fmt: skip


def put_a_label_on(mirrored: Mirrored) -> None:
    mirrored.sql("insert into mail.message_labels select distinct on (m.message_id) m.account_id, m.message_id,"
                 " l.label_id from mail.messages m join mail.labels l using (account_id) where m.account_id = %s and"
                 " not exists (select from mail.message_labels k where (k.account_id, k.message_id, k.label_id) ="
                 " (m.account_id, m.message_id, l.label_id)) order by m.message_id, l.label_id limit 3",
                 mirrored.id)  # fmt: skip


def rename_a_label(mirrored: Mirrored) -> None:
    mirrored.sql("update mail.labels set name = 'elsewhere' where account_id = %s and label_id = (select min(label_id)"
                 " from mail.message_labels where account_id = %s)", mirrored.id, mirrored.id)  # fmt: skip


def change_a_recipient(mirrored: Mirrored) -> None:
    mirrored.sql("update mail.message_people set name = coalesce(name, '') || '?' where role = 'to' and account_id = %s"
                 f" and message_id in {chosen('to', 4)}", mirrored.id, mirrored.id)  # fmt: skip


def lose_a_recipient(mirrored: Mirrored) -> None:
    mirrored.sql("delete from mail.message_people where role = 'to' and position = 0 and account_id = %s"
                 f" and message_id in {chosen('lose', 4)}", mirrored.id, mirrored.id)  # fmt: skip


def rename_an_attachment(mirrored: Mirrored) -> None:
    mirrored.sql("update mail.attachments set name = 'other.pdf' where account_id = %s and message_id in (select"
                 " message_id from mail.attachments where account_id = %s order by 1 limit 3)",
                 mirrored.id, mirrored.id)  # fmt: skip


def add_a_message(mirrored: Mirrored) -> None:
    more = "create temp table more as select * from mail.messages where account_id = {} order by message_id limit 1"
    mirrored.sql("; ".join((
        more.format(mirrored.id),
        "update more set message_id = 'message_bm9uZQ'",
        "insert into mail.messages select * from more",
    )))  # fmt: skip


def bury_the_living(mirrored: Mirrored) -> None:
    change("deleted_at = sync.now(), found_gone = 'sweep'", "bury")(mirrored)


DAMAGES: dict[str, Callable[[Mirrored], None]] = {
    "dropped": drop_one_in_a_hundred,
    "buried": bury_the_living,
    "subject": change("subject = coalesce(subject, '') || ' '", "subject"),
    "body": change("body = null", "body"),
    "text": change("text_body = left(text_body, -1)", "text"),
    "created": change("created = created + interval '1 second'", "created"),
    "folder": change("folder_id = null", "folder"),
    "thread": change("thread_id = 'thread_x'", "thread"),
    "size": change("body_size = body_size + 1", "size"),
    "label off": take_a_label_off,
    "label on": put_a_label_on,
    "label name": rename_a_label,
    "recipient": change_a_recipient,
    "recipient lost": lose_a_recipient,
    "attachment": rename_an_attachment,
    "extra": add_a_message,
}


def both_name_the_same(mirrored: Mirrored) -> int:
    """Compare what the two name; returns how many messages that is."""
    truth, verdict = mirrored.truth(), mirrored.verify()
    assert {d.message_id for d in verdict.missing} == set(truth.missing)
    assert {d.message_id for d in verdict.stale} == truth.stale_ids
    assert {d.message_id for d in verdict.extra} == set(truth.extra)
    assert verdict.unchecked == ()
    assert verdict.equal == (not (truth.missing or truth.extra or truth.stale))
    return len(truth.missing) + len(truth.extra) + len(truth.stale_ids)


def test_both_find_nothing_in_a_sound_mirror(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(600, "outlook_email"))
    mirrored.sync()
    assert both_name_the_same(mirrored) == 0
    mirrored.must_be_equal()


@pytest.mark.parametrize("damage", DAMAGES)
def test_both_name_the_same_messages_of_a_damaged_mirror(
    calm_upstream: Upstream, mirror_of: MakeMirror, damage: str
) -> None:
    service = "gmail" if damage.startswith("label") else "outlook_email"
    mirrored = mirror_of(calm_upstream.mailbox(250, service))
    mirrored.sync()
    DAMAGES[damage](mirrored)
    assert both_name_the_same(mirrored) > 0
    mirrored.mirror.repair(mirrored.id, mirrored.verify())
    assert mirrored.verify().equal
    mirrored.must_be_equal()


def test_a_repair_fetches_only_the_difference_and_every_audit_is_kept(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(400))
    mirrored.sync()
    drop_one_in_a_hundred(mirrored)
    DAMAGES["subject"](mirrored)
    add_a_message(mirrored)
    verdict = mirrored.verify()
    differing = [d.message_id for d in (*verdict.missing, *verdict.stale, *verdict.extra)]
    others = "select message_id, xmin::text, ctid::text from mail.messages where message_id <> all(%s) order by 1"
    before = mirrored.sql(others, differing)
    last = mirrored.box.last_request()
    done = mirrored.mirror.repair(mirrored.id, verdict)
    asked = [r["route"] for r in mirrored.box.requests(last) if r["route"] != "account"]
    assert asked == ["get"] * len(differing)
    assert (done.written, done.deleted) == (len(verdict.missing) + len(verdict.stale), len(verdict.extra))
    assert mirrored.verify().equal
    assert mirrored.sql(others, differing) == before
    audits = mirrored.sql("select missing, stale, extra, equal, checked from sync.audits order by id")
    assert audits == [(6, 5, 1, False, 400), (0, 0, 0, True, 400)]


def test_a_repair_never_deletes_in_a_mass(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(200))
    mirrored.sync()
    mirrored.box.set(activity="forbidden")
    mirrored.box.delete(all=True)
    done = mirrored.mirror.repair(mirrored.id, mirrored.verify())
    assert done.deleted < 100
    assert done.held + done.deleted == 200


def test_both_name_the_same_messages_when_everything_is_damaged_at_once(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(600, "outlook_email"))
    mirrored.sync()
    for damage in DAMAGES.values():
        damage(mirrored)
    assert both_name_the_same(mirrored) > 30


FLAWS = {
    "a child without its message": "delete from mail.messages where message_id = (select min(message_id) from"
    " mail.attachments)",
    "an address without its person": "delete from mail.people where address = (select min(address) from"
    " mail.message_people)",
    "a person on no message": "insert into mail.people (account_id, address) select id, 'no@where' from sync.accounts",
    "the name of an older message": "update mail.people set name = 'Older', name_at = name_at - interval '1 day'"
    " where address = (select min(address) from mail.people where name is not null)",
    "a name on a message that never had it": "update mail.people set name = 'Newer', name_at = now(), name_on = 'x'"
    " where address = (select min(address) from mail.people where name is not null)",
    "a label without its row": "delete from mail.labels where label_id = (select min(label_id) from"
    " mail.message_labels)",
    "a gap in the ledger": "delete from sync.windows where after = (select max(after) from sync.windows where"
    " before is not null)",
    "a ledger without a head": "delete from sync.windows where before is null",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_the_judge_sees_what_no_single_message_shows(calm_upstream: Upstream, mirror_of: MakeMirror, flaw: str) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(120))
    mirrored.sync()
    mirrored.must_be_equal()
    mirrored.sql(FLAWS[flaw])
    report = mirrored.truth()
    assert not report.equal
    assert report.flaws
