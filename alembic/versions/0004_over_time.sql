-- Part of schema analytics: labels and folders over time.
-- The mirror knows them from its first sight of a message on, and to the poll interval: two changes between two polls
-- are one.

-- Said again and not built on mail.message_label_history: so a filter on created or label reaches both halves.
CREATE VIEW analytics.label_history WITH (security_invoker = true) AS
SELECT p.account_id, p.message_id, m.created, p.label_id, n.name AS label, p.since AS valid_from, p.until AS valid_to
FROM mail.message_labels_past AS p
JOIN mail.messages AS m ON m.account_id = p.account_id AND m.message_id = p.message_id
LEFT JOIN mail.labels AS n ON n.account_id = p.account_id AND n.label_id = p.label_id
WHERE m.deleted_at IS NULL
UNION ALL
SELECT l.account_id, l.message_id, m.created, l.label_id, n.name, coalesce(l.since, m.first_seen_at), NULL
FROM mail.message_labels AS l
JOIN mail.messages AS m ON m.account_id = l.account_id AND m.message_id = l.message_id
LEFT JOIN mail.labels AS n ON n.account_id = l.account_id AND n.label_id = l.label_id
WHERE m.deleted_at IS NULL;

COMMENT ON VIEW analytics.label_history IS 'Which label was on which live message from when to when, as the mirror saw it: exact to the poll interval, and from the first sight of the message on. Mail deleted since is missing for the past, too.';
COMMENT ON COLUMN analytics.label_history.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.label_history.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN analytics.label_history.created IS 'When the mailbox got the message.';
COMMENT ON COLUMN analytics.label_history.label_id IS 'The label: mail.labels.label_id.';
COMMENT ON COLUMN analytics.label_history.label IS 'Its name as last seen; names of the past are not kept.';
COMMENT ON COLUMN analytics.label_history.valid_from IS 'When the mirror first saw the label on the message.';
COMMENT ON COLUMN analytics.label_history.valid_to IS 'When the mirror saw that it was off; null while it is on.';

CREATE VIEW analytics.folder_history WITH (security_invoker = true) AS
SELECT p.account_id, p.message_id, m.created, p.folder_id, n.name AS folder, p.since AS valid_from, p.until AS valid_to
FROM mail.message_folders_past AS p
JOIN mail.messages AS m ON m.account_id = p.account_id AND m.message_id = p.message_id
LEFT JOIN mail.folders AS n ON n.account_id = p.account_id AND n.folder_id = p.folder_id
WHERE m.deleted_at IS NULL
UNION ALL
SELECT m.account_id, m.message_id, m.created, m.folder_id, n.name, coalesce(m.folder_since, m.first_seen_at), NULL
FROM mail.messages AS m
LEFT JOIN mail.folders AS n ON n.account_id = m.account_id AND n.folder_id = m.folder_id
WHERE m.deleted_at IS NULL AND m.folder_id IS NOT NULL;

COMMENT ON VIEW analytics.folder_history IS 'Which live message lay in which folder from when to when, as the mirror saw it: exact to the poll interval, and from the first sight of the message on. Mail deleted since is missing for the past, too.';
COMMENT ON COLUMN analytics.folder_history.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.folder_history.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN analytics.folder_history.created IS 'When the mailbox got the message.';
COMMENT ON COLUMN analytics.folder_history.folder_id IS 'The folder: mail.folders.folder_id.';
COMMENT ON COLUMN analytics.folder_history.folder IS 'Its name as last seen; names of the past are not kept.';
COMMENT ON COLUMN analytics.folder_history.valid_from IS 'When the mirror first saw the message in the folder.';
COMMENT ON COLUMN analytics.folder_history.valid_to IS 'When the mirror saw it elsewhere; null while it lies there.';

CREATE FUNCTION analytics.labels_by_day(time_zone text DEFAULT 'UTC') RETURNS TABLE (
    account_id bigint, label_id text, label text, day date, put_on bigint, taken_off bigint, messages bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    d.account_id, d.label_id, d.label, d.day, d.put_on, d.taken_off,
    (sum(d.put_on - d.taken_off) OVER (PARTITION BY d.account_id, d.label_id ORDER BY d.day))::bigint
FROM (
    SELECT
        h.account_id, h.label_id, h.label,
        (c.at AT TIME ZONE labels_by_day.time_zone)::date AS day,
        count(*) FILTER (WHERE c.begins) AS put_on,
        count(*) FILTER (WHERE NOT c.begins) AS taken_off
    FROM analytics.label_history AS h
    CROSS JOIN LATERAL (VALUES (h.valid_from, true), (h.valid_to, false)) AS c (at, begins)
    WHERE c.at IS NOT NULL
    GROUP BY 1, 2, 3, 4
) AS d;
END;

COMMENT ON FUNCTION analytics.labels_by_day(text) IS 'How many live messages each label was put on and taken off of on each day of a time zone, and how many had it at the day''s end. Columns: account_id, label_id, label, day, put_on, taken_off, messages. A day without change has no row. What the mirror found at its first sight counts as put on that day. Filter on account_id and label_id outside.';

CREATE FUNCTION analytics.folders_by_day(time_zone text DEFAULT 'UTC') RETURNS TABLE (
    account_id bigint, folder_id text, folder text, day date, moved_in bigint, moved_out bigint, messages bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    d.account_id, d.folder_id, d.folder, d.day, d.moved_in, d.moved_out,
    (sum(d.moved_in - d.moved_out) OVER (PARTITION BY d.account_id, d.folder_id ORDER BY d.day))::bigint
FROM (
    SELECT
        h.account_id, h.folder_id, h.folder,
        (c.at AT TIME ZONE folders_by_day.time_zone)::date AS day,
        count(*) FILTER (WHERE c.begins) AS moved_in,
        count(*) FILTER (WHERE NOT c.begins) AS moved_out
    FROM analytics.folder_history AS h
    CROSS JOIN LATERAL (VALUES (h.valid_from, true), (h.valid_to, false)) AS c (at, begins)
    WHERE c.at IS NOT NULL
    GROUP BY 1, 2, 3, 4
) AS d;
END;

COMMENT ON FUNCTION analytics.folders_by_day(text) IS 'How many live messages came into and left each folder on each day of a time zone, and how many lay there at the day''s end. Columns: account_id, folder_id, folder, day, moved_in, moved_out, messages. A day without change has no row. What the mirror found at its first sight counts as moved in that day. Filter on account_id and folder_id outside.';

CREATE VIEW analytics.time_to_read WITH (security_invoker = true) AS
SELECT
    account_id,
    message_id,
    created,
    min(valid_from) AS unread_from,
    min(valid_to) AS read_at,
    extract(epoch FROM min(valid_to) - min(valid_from))::bigint AS seconds,
    CASE WHEN min(valid_from) <= created + interval '1 hour' THEN 'high' ELSE 'low' END AS confidence
FROM analytics.label_history
WHERE label = 'UNREAD'
GROUP BY account_id, message_id, created;

COMMENT ON VIEW analytics.time_to_read IS 'How long live messages stayed unread the first time, by Gmail''s label UNREAD. Mail that was read when the mirror first saw it has no row, and other mail services show no such label: there is no row either. Exact to the poll interval.';
COMMENT ON COLUMN analytics.time_to_read.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.time_to_read.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN analytics.time_to_read.created IS 'When the mailbox got the message.';
COMMENT ON COLUMN analytics.time_to_read.unread_from IS 'When the mirror first saw it unread.';
COMMENT ON COLUMN analytics.time_to_read.read_at IS 'When the mirror saw that it was read (or gone for a while); null while it is unread.';
COMMENT ON COLUMN analytics.time_to_read.seconds IS 'From unread_from to read_at; null while it is unread.';
COMMENT ON COLUMN analytics.time_to_read.confidence IS 'high: the mirror saw the message within an hour of its coming. low: it had lain unread for longer by then, so seconds is too low.';

CREATE VIEW analytics.time_in_folder WITH (security_invoker = true) AS
SELECT
    account_id,
    message_id,
    created,
    folder_id,
    folder,
    count(*) AS stays,
    min(valid_from) AS first_at,
    max(valid_to) AS last_left_at,
    bool_or(valid_to IS NULL) AS is_there,
    sum(extract(epoch FROM coalesce(valid_to, now()) - valid_from))::bigint AS seconds
FROM analytics.folder_history
GROUP BY account_id, message_id, created, folder_id, folder;

COMMENT ON VIEW analytics.time_in_folder IS 'How long each live message lay in each of its folders, from the mirror''s first sight of it on and exact to the poll interval. Services with labels instead of folders have no row.';
COMMENT ON COLUMN analytics.time_in_folder.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.time_in_folder.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN analytics.time_in_folder.created IS 'When the mailbox got the message.';
COMMENT ON COLUMN analytics.time_in_folder.folder_id IS 'The folder: mail.folders.folder_id.';
COMMENT ON COLUMN analytics.time_in_folder.folder IS 'Its name as last seen.';
COMMENT ON COLUMN analytics.time_in_folder.stays IS 'How often it came there.';
COMMENT ON COLUMN analytics.time_in_folder.first_at IS 'When the mirror first saw it there.';
COMMENT ON COLUMN analytics.time_in_folder.last_left_at IS 'When the mirror last saw it leave; null if it never did.';
COMMENT ON COLUMN analytics.time_in_folder.is_there IS 'Whether it lies there now.';
COMMENT ON COLUMN analytics.time_in_folder.seconds IS 'All its stays together, the present one up to now.';
