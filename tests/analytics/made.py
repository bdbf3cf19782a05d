"""Made-up mailboxes of any size, filled by SQL alone: the same numbers give the same rows on every machine.

Days up to the end of 2025, with mail between 7 and 20 o'clock UTC. In every twelve messages lie four threads of three;
of ten threads one is a machine's and one a newsletter, and of the others two in three are answered.
"""

from collections.abc import Mapping
from typing import Any

import psycopg

OWN = "ann@home.example"

FACTS = """
create temp table made as
select
    n, at, tid, 'message_' || left(md5({account} || '.' || n), 16) as id, 'thread_' || tid as thread,
    case tid % 10
        when 3 then 'no-reply@shop' || k % 200 || '.example'
        when 7 then 'news@paper' || k % 30 || '.example'
        else 'person' || k || '@firm' || k % 50 || '.example'
    end as other,
    'person' || (k * 7 + n % 3) % 2000 || '@firm' || (k * 7 + n % 3) % 2000 % 50 || '.example' as third,
    tid % 10 not in (3, 7) and (place = 1 and tid % 3 > 0 or place = 2 and tid % 4 = 1) as goes_out,
    (array['Plan', 'Offer', 'Invoice', 'Lunch', 'Report'])[1 + tid % 5] || ' ' || tid as topic,
    place
from (
    select
        n, n / 12 * 4 + n % 4 as tid, n % 12 / 4 as place,
        floor(2000 * power((n / 12 * 4 + n % 4) * 7919 % 1009 / 1009.0, 3))::int as k,
        date_trunc('second', timestamptz '2026-01-01 07:00+00' - {days} * interval '1 day'
            + floor(passed) * interval '1 day' + (passed - floor(passed)) * interval '13 hours') as at
    from generate_series(0, {count} - 1) as n, lateral (select n * {days}.0 / {count} as passed) as p
) as numbered;
"""

ROWS = """
insert into sync.accounts (kind, upstream_id, address, polled_at)
    values ('kloudless', '{account}', '{own}', '2025-12-31 20:00+00');
insert into sync.cursors (account_id, stream) values ({account}, 'activity');
insert into sync.windows (account_id, after, before, state, walked_at) values
    ({account}, '0001-01-01+00', '2025-12-01+00', 'done', '2025-12-31 19:00+00'),
    ({account}, '2025-12-01+00', null, 'done', '2025-12-31 19:00+00');
insert into mail.labels (account_id, label_id, name)
    select {account}, 'label_' || name, name
    from unnest('{{INBOX,SENT,UNREAD,DRAFT,SPAM,CATEGORY_PROMOTIONS}}'::text[]) as name;
insert into mail.folders (account_id, folder_id, name)
    select {account}, 'folder_' || lower(name), name from unnest('{{Inbox,Sent,Done}}'::text[]) as name;
insert into mail.messages (account_id, message_id, created, thread_id, subject, snippet, folder_id, folder_since,
        first_seen_at, has_attachments, deleted_at)
    select {account}, id, at, thread, case when place > 0 then 'Re: ' else '' end || topic, repeat('Words. ', 20),
        case when goes_out then 'folder_sent' when n % 10 = 2 then 'folder_done' else 'folder_inbox' end,
        case when n % 10 = 2 and not goes_out then at + interval '2 days' end,
        at, n % 5 = 1, case when n % 50 = 17 then at + interval '1 day' end
    from made;
insert into mail.message_people (account_id, message_id, role, position, address, email, name)
    select {account}, id, w.role, 0, w.address, w.address, 'Some name'
    from made cross join lateral (values
        ('from', case when goes_out then '{own}' else other end),
        ('to', case when goes_out then other else '{own}' end),
        ('cc', case when n % 3 = 0 then third end)
    ) as w (role, address)
    where w.address is not null;
insert into mail.people (account_id, address, name)
    select distinct account_id, address, initcap(split_part(address, '@', 1))
    from mail.message_people where account_id = {account};
insert into mail.message_labels (account_id, message_id, label_id)
    select {account}, id, 'label_' || l.name
    from made cross join lateral (values
        (case when goes_out then 'SENT' else 'INBOX' end),
        (case when not goes_out and n % 20 = 0 then 'UNREAD' end),
        (case when goes_out and n % 100 = 9 then 'DRAFT' end),
        (case when not goes_out and n % 97 = 5 then 'SPAM' end),
        (case when tid % 10 = 7 or n % 31 = 4 then 'CATEGORY_PROMOTIONS' end)
    ) as l (name)
    where l.name is not null;
insert into mail.message_labels_past (account_id, message_id, label_id, since, until)
    select {account}, id, 'label_UNREAD', at, at + n * 7919 % 1000 * interval '1 minute'
    from made where not goes_out and n % 5 > 0;
insert into mail.message_folders_past (account_id, message_id, folder_id, since, until)
    select {account}, id, 'folder_inbox', at, at + interval '2 days' from made where not goes_out and n % 10 = 2;
insert into mail.attachments (account_id, message_id, position, name, mime_type, size)
    select {account}, id, 0, 'file ' || n,
        (array['application/pdf', 'image/jpeg', 'image/png', 'text/calendar', 'application/zip',
            'application/vnd.ms-excel', 'application/pdf'])[1 + n / 5 % 7],
        1000 + n * 7919 % 500000
    from made where n % 5 = 1;
drop table made;
"""


def fill(sql: psycopg.Connection[Any], sizes: Mapping[int, int], days: int) -> None:
    """Make these accounts, 1 first, each with so many messages in so many days, and tell the planner."""
    sql.execute("set time zone 'UTC'")
    for account, count in sizes.items():
        sql.execute((FACTS + ROWS).format(account=account, count=count, days=days, own=OWN).encode())
    sql.execute("vacuum analyze")
