"""The statements of the write path, each with a name and a purpose; `%b` marks binary parameters."""

FENCE = """
update sync.accounts
set lease_until = sync.now() + make_interval(secs => %(seconds)s),
    polled_at = case when %(polled)s then sync.now() else polled_at end
where id = %(account_id)s and lease_epoch = %(epoch)s
returning sync.now()
"""
"""First statement of every transaction: the fence and the lock; no row means the lease was overtaken."""

PROBE = """
select m.message_id, m.digest, m.folder_id, m.deleted_at is not null
from unnest(%b::text[]) as u (message_id)
cross join lateral (
    select message_id, digest, folder_id, deleted_at from mail.messages
    where account_id = %b and message_id = u.message_id
    limit 1
) as m
"""
"""One look by the primary key for each id. With `= any` a table that was never analysed is read by another index, the
whole account each time: 10 ms a page at 9,000 messages where this takes 0.7."""

KNOWN_PEOPLE = """
select address, name, name_at, name_on from mail.people where account_id = %b and address = any(%b::text[])
"""

UPSERT_PEOPLE = """
insert into mail.people as p (account_id, address, name, name_at, name_on)
select %b, u.* from unnest(%b::text[], %b::text[], %b::timestamptz[], %b::text[]) as u (address, name, name_at, name_on)
on conflict (account_id, address) do update
set name = excluded.name, name_at = excluded.name_at, name_on = excluded.name_on,
    changed_in = pg_current_xact_id()
where excluded.name_on is not null
  and (coalesce(excluded.name_at, '-infinity'), excluded.name_on collate "C")
      >= (coalesce(p.name_at, '-infinity'), coalesce(p.name_on, '') collate "C")
  and (excluded.name, excluded.name_at, excluded.name_on) is distinct from (p.name, p.name_at, p.name_on)
"""
"""A name is written only when the message it stands on is at least as new as the one known."""

TAKE_NAMES_BACK = """
update mail.people p
set name = newest.name, name_at = newest.created, name_on = newest.message_id, changed_in = pg_current_xact_id()
from mail.people as stale
left join lateral (
    select i.name, m.created, m.message_id
    from mail.message_people i join mail.messages m using (account_id, message_id)
    where i.account_id = stale.account_id and i.address = stale.address and i.name <> ''
    order by m.created desc nulls last, m.message_id collate "C" desc,
             array_position(array['from', 'to', 'cc', 'bcc'], i.role), i.position
    limit 1
) as newest on true
where stale.account_id = %b and stale.address = any(%b::text[]) and stale.name_on = any(%b::text[])
  and not exists (
      select from mail.message_people i
      where i.account_id = stale.account_id and i.message_id = stale.name_on
        and i.address = stale.address and i.name = stale.name
  )
  and p.account_id = stale.account_id and p.address = stale.address
returning p.address
"""
"""For addresses on messages that were written anew: a name its own message no longer bears gives way to the newest."""

KNOWN_NAMES = """
select {key}, name, gone_at is not null from mail.{table} where account_id = %b and {key} = any(%b::text[])
"""

GONE_FOLDERS = """
update mail.folders set gone_at = sync.now(), changed_in = pg_current_xact_id()
where account_id = %b and folder_id = any(%b::text[]) and gone_at is null
"""

UNNAMED_FOLDERS = """
select folder_id from mail.folders where account_id = %b and name is null and gone_at is null order by folder_id
"""

UPSERT_NAMES = """
insert into mail.{table} as t (account_id, {key}, name)
select %b, u.* from unnest(%b::text[], %b::text[]) as u ({key}, name)
on conflict (account_id, {key}) do update
set name = coalesce(excluded.name, t.name), gone_at = null, changed_in = pg_current_xact_id()
"""
"""For labels and folders that are new, renamed, or seen again after they were gone."""

DROP_LABELS = """
with gone as (
    delete from mail.message_labels l
    using unnest(%b::text[]) as m (message_id)
    where l.account_id = %b and l.message_id = m.message_id
      and not exists (
          select from unnest(%b::text[], %b::text[]) as k (message_id, label_id)
          where k.message_id = l.message_id and k.label_id = l.label_id
      )
    returning l.account_id, l.message_id, l.label_id, l.since
)
insert into mail.message_labels_past as p (account_id, message_id, label_id, since, until)
select account_id, message_id, g.label_id, coalesce(g.since, m.first_seen_at),
       greatest(coalesce(m.deleted_at, sync.now()), coalesce(g.since, m.first_seen_at))
from gone g join mail.messages m using (account_id, message_id)
on conflict (account_id, message_id, label_id, since) do update set until = greatest(p.until, excluded.until)
"""
"""Labels that are not named are taken off and go into the past. Run before a tombstone is lifted, which ended them."""

ADD_LABELS = """
insert into mail.message_labels (account_id, message_id, label_id, since)
select %b, u.*, sync.now() from unnest(%b::text[], %b::text[]) as u (message_id, label_id)
on conflict do nothing
"""

LEAVE_FOLDERS = """
insert into mail.message_folders_past as p (account_id, message_id, folder_id, since, until)
select account_id, m.message_id, m.folder_id, coalesce(m.folder_since, m.first_seen_at),
       greatest(coalesce(m.deleted_at, sync.now()), coalesce(m.folder_since, m.first_seen_at))
from mail.messages m
where m.account_id = %b and m.message_id = any(%b::text[]) and m.folder_id is not null
on conflict (account_id, message_id, folder_id, since) do update set until = greatest(p.until, excluded.until)
"""
"""For messages that lie elsewhere now, or come back: the folder they lay in is past. Run before they are updated."""

UPDATE_LIGHT = """
update mail.messages m
set thread_id = u.thread_id, folder_id = u.folder_id, digest = u.digest,
    folder_since = case when m.folder_id is distinct from u.folder_id then sync.now() else m.folder_since end,
    changed_at = sync.now(), changed_in = pg_current_xact_id()
from unnest(%b::text[], %b::text[], %b::text[], %b::bytea[]) as u (message_id, thread_id, folder_id, digest)
where m.account_id = %b and m.message_id = u.message_id
"""
"""Bodies are neither sent nor written again."""

UPDATE_CONTENT = """
update mail.messages m
set {assignments}, deleted_at = null, found_gone = null,
    folder_since = case
        when m.deleted_at is not null or m.folder_id is distinct from u.folder_id then sync.now() else m.folder_since
    end,
    changed_at = sync.now(), changed_in = pg_current_xact_id()
from unnest({arrays}) as u ({columns})
where m.account_id = %b and m.message_id = u.message_id
"""

DROP_PEOPLE = """
delete from mail.message_people where account_id = %b and message_id = any(%b::text[])
returning address
"""
DROP_ALL_LABELS = "delete from mail.message_labels where account_id = %b and message_id = any(%b::text[])"
DROP_ATTACHMENTS = "delete from mail.attachments where account_id = %b and message_id = any(%b::text[])"

TOMBSTONE = """
update mail.messages m
set deleted_at = sync.now(), found_gone = u.found_gone,
    changed_at = sync.now(), changed_in = pg_current_xact_id()
from unnest(%b::text[], %b::text[]) as u (message_id, found_gone)
where m.account_id = %b and m.message_id = u.message_id and m.deleted_at is null
returning m.created
"""

TOMBSTONE_UNSEEN = """
insert into mail.messages (account_id, message_id, deleted_at, found_gone)
select %b, u.message_id, sync.now(), u.found_gone
from unnest(%b::text[], %b::text[]) as u (message_id, found_gone)
on conflict do nothing
"""
"""A deletion of a message never seen still leaves its mark: it keeps a late list page from bringing it in."""

DISTURB = """
update sync.windows w
set disturbed = true
where w.account_id = %(account_id)s
  and ((w.state = 'open' and w.pages > 0) or w.after = any(%(walking)s::timestamptz[]))
  and (%(unseen)s or exists (
      select from unnest(%(created)s::timestamptz[]) as c
      where c is null or (c >= w.after and (w.before is null or c < w.before))
  ))
returning w.after
"""
"""Where a message was deleted under a walk, the listing may have skipped another."""

RECORD_PROBLEMS = """
insert into sync.problems as p (account_id, kind, subject, cause, bytes, not_before, window_after, window_before)
select %b, u.kind, u.subject, u.cause, u.bytes, sync.now() + make_interval(secs => u.retry_in), u.after, u.before
from unnest(%b::text[], %b::text[], %b::text[], %b::bytea[], %b::float8[], %b::timestamptz[], %b::timestamptz[])
     as u (kind, subject, cause, bytes, retry_in, after, before)
on conflict (account_id, kind, subject) do update
set cause = excluded.cause,
    bytes = coalesce(excluded.bytes, p.bytes),
    attempts = case when p.state = 'open' then p.attempts + 1 else 1 end,
    first_seen_at = case when p.state = 'open' then p.first_seen_at else excluded.first_seen_at end,
    last_seen_at = excluded.last_seen_at,
    not_before = case
        when p.state = 'open' then
            sync.now() + least((excluded.not_before - sync.now()) * power(2, least(p.attempts, 12)), interval '6 hours')
        else excluded.not_before
    end,
    window_after = excluded.window_after,
    window_before = excluded.window_before,
    state = 'open',
    closed_at = null
"""
"""Seen again, a problem waits twice as long each time, up to six hours."""

CLOSE_SOLVED = """
update sync.problems p
set state = 'closed', closed_at = sync.now(), not_before = null
from unnest(%b::text[], %b::text[]) as u (kind, subject)
where p.account_id = %b and p.kind = u.kind and p.subject = u.subject and p.state = 'open'
"""

CLOSE_BY_WALK = """
update sync.problems
set state = 'closed', closed_at = sync.now(), not_before = null
where account_id = %(account_id)s and state = 'open' and window_after is not null
  and tstzrange(window_after, window_before) && tstzrange(%(after)s, %(before)s)
  and subject <> all(%(unreadable)s::text[])
"""
"""What has no id to ask for is put right by a complete walk that does not find it again."""

CLOSE_EVENTS = """
update sync.problems p
set state = 'closed', closed_at = sync.now(), not_before = null
where p.account_id = %b and p.state = 'open' and p.kind = 'event'
  and not exists (
      select from sync.windows w
      where w.account_id = p.account_id
        and (w.state = 'open' or w.walked_at is null or w.walked_at < p.last_seen_at)
  )
"""
"""What an unreadable event may have meant is put right once every window has been walked after it."""

CLOSE_BY_MESSAGE = """
update sync.problems
set state = 'closed', closed_at = sync.now(), not_before = null
where account_id = %b and state = 'open' and kind in ('pending', 'message', 'held_delete')
  and subject = any(%b::text[])
"""

OPEN_PROBLEMS = "select exists (select from sync.problems where account_id = %b and state = 'open')"

MOVE_CURSOR = """
insert into sync.cursors as c (account_id, stream, cursor, supported)
values (%b, 'activity', %b, %b)
on conflict (account_id, stream) do update
set cursor = excluded.cursor, supported = excluded.supported, moved_at = sync.now()
"""

DROP_WINDOWS = "delete from sync.windows where account_id = %(account_id)s and after = any(%(after)s::timestamptz[])"

PUT_WINDOW = """
insert into sync.windows as w ({columns})
values ({values})
on conflict (account_id, after) do update
set {assignments},
    disturbed = excluded.state = 'open' and (excluded.disturbed or (w.disturbed and excluded.pages > 0)),
    next_walk_at = case
        when excluded.state <> 'open' and w.disturbed then sync.now() else excluded.next_walk_at
    end
"""
"""A window that was disturbed while its walk's last page was under way is due again at once."""

WALK_ALL = """
update sync.windows
set next_walk_at = case when state = 'open' then next_walk_at else sync.now() end,
    disturbed = disturbed or (state = 'open' and pages > 0)
where account_id = %b
"""
"""A window in the middle of its first walk is walked again after it: what it has passed may have changed since."""

POSITION = """
select c.cursor, c.supported,
       extract(epoch from sync.now()
           - case when c.supported then coalesce(a.polled_at, c.moved_at) else c.moved_at end)::float8
from sync.cursors c join sync.accounts a on a.id = c.account_id
where c.account_id = %b and c.stream = 'activity'
"""

WALK_DUE = """
select exists (
    select from sync.windows where account_id = %(account_id)s and state = 'open'
) or exists (
    select from sync.windows where account_id = %(account_id)s and next_walk_at <= sync.now()
)
"""

PENDING = """
select kind, subject, attempts, extract(epoch from sync.now() - first_seen_at)::float8
from sync.problems
where account_id = %b and state = 'open' and not_before <= sync.now() and kind in ('pending', 'message')
order by not_before
limit %b
"""

LIVE_IDS = """
select message_id from mail.messages
where account_id = %(account_id)s and deleted_at is null
  and ((created >= %(after)s and created < %(before)s) or (created is null and %(oldest)s))
"""

ANY_LIVE = """
select exists (
    select from mail.messages
    where account_id = %(account_id)s and deleted_at is null and created >= %(after)s and created < %(before)s
) or (%(oldest)s and exists (
    select from mail.messages where account_id = %(account_id)s and deleted_at is null and created is null
))
"""

LIVE_AMONG = """
select message_id from mail.messages
where account_id = %b and message_id = any(%b::text[]) and deleted_at is null
"""

CUTS = """
select date_trunc('second', created)
from (
    select created, row_number() over (order by created desc) as place
    from mail.messages
    where account_id = %(account_id)s and deleted_at is null and created > %(after)s and created < %(before)s
) as ordered
where place %% %(size)s = 0
order by 1 desc
"""

DELETIONS = """
select (select count(*) from mail.messages
        where account_id = %(account_id)s and deleted_at > sync.now() - interval '24 hours'
          and found_gone = %(found_by)s)
     + (select count(*) from sync.problems
        where account_id = %(account_id)s and kind = 'held_delete' and state = 'open')
"""

LIVE_COUNT = """
select count(*) from (
    select from mail.messages where account_id = %b and deleted_at is null limit %b
) as counted
"""
