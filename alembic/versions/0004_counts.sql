-- Part of schema analytics: volumes, correspondents, types of attachments.

CREATE FUNCTION analytics.volumes_by_day(
    time_zone text DEFAULT 'UTC', first_day date DEFAULT '-infinity', last_day date DEFAULT 'infinity'
) RETURNS TABLE (
    account_id bigint, day date, messages bigint, incoming bigint, outgoing bigint, internal bigint, unknown bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    c.account_id, c.day, sum(c.n)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'incoming'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'outgoing'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'internal'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'unknown'), 0)::bigint
FROM (
    SELECT m.account_id, (m.created AT TIME ZONE volumes_by_day.time_zone)::date AS day, m.direction, count(*) AS n
    FROM analytics.counted_messages AS m
    WHERE m.created >= volumes_by_day.first_day::timestamp AT TIME ZONE volumes_by_day.time_zone
        AND m.created < (volumes_by_day.last_day + 1)::timestamp AT TIME ZONE volumes_by_day.time_zone
    GROUP BY 1, 2, 3
) AS c
GROUP BY c.account_id, c.day;
END;

COMMENT ON FUNCTION analytics.volumes_by_day(text, date, date) IS 'Counted messages (analytics.counted_messages) of each account and day of a time zone such as Europe/Berlin, from first_day to last_day, both included. Columns: account_id, day, messages, and of these incoming, outgoing, internal, unknown. A day without mail has no row. Filter on account_id outside.';

CREATE FUNCTION analytics.volumes_by_hour(
    time_zone text DEFAULT 'UTC', first_day date DEFAULT '-infinity', last_day date DEFAULT 'infinity'
) RETURNS TABLE (
    account_id bigint, weekday integer, hour integer, messages bigint, incoming bigint, outgoing bigint,
    internal bigint, unknown bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    c.account_id, c.weekday, c.hour, sum(c.n)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'incoming'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'outgoing'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'internal'), 0)::bigint,
    coalesce(sum(c.n) FILTER (WHERE c.direction = 'unknown'), 0)::bigint
FROM (
    SELECT
        m.account_id,
        extract(isodow FROM m.created AT TIME ZONE volumes_by_hour.time_zone)::integer AS weekday,
        extract(hour FROM m.created AT TIME ZONE volumes_by_hour.time_zone)::integer AS hour,
        m.direction,
        count(*) AS n
    FROM analytics.counted_messages AS m
    WHERE m.created >= volumes_by_hour.first_day::timestamp AT TIME ZONE volumes_by_hour.time_zone
        AND m.created < (volumes_by_hour.last_day + 1)::timestamp AT TIME ZONE volumes_by_hour.time_zone
    GROUP BY 1, 2, 3, 4
) AS c
GROUP BY c.account_id, c.weekday, c.hour;
END;

COMMENT ON FUNCTION analytics.volumes_by_hour(text, date, date) IS 'Counted messages (analytics.counted_messages) of each account by weekday (1 is Monday) and hour (0 to 23) of a time zone, over the days from first_day to last_day, both included. Columns: account_id, weekday, hour, messages, and of these incoming, outgoing, internal, unknown. An hour without mail has no row; the hour that a clock shows twice in autumn is one. Filter on account_id outside.';

CREATE VIEW analytics.correspondents WITH (security_invoker = true) AS
SELECT
    c.account_id,
    c.address,
    (SELECT p.name FROM mail.people AS p WHERE p.account_id = c.account_id AND p.address = c.address) AS name,
    c.received,
    c.sent,
    c.first_at,
    c.last_at,
    c.last_received_at,
    c.last_sent_at,
    round(sqrt(c.received * c.sent::numeric), 1) AS strength,
    told.kind
FROM (
    SELECT
        t.account_id,
        t.address,
        count(*) FILTER (WHERE t.came_in) AS received,
        count(*) FILTER (WHERE NOT t.came_in) AS sent,
        min(t.created) AS first_at,
        max(t.created) AS last_at,
        max(t.created) FILTER (WHERE t.came_in) AS last_received_at,
        max(t.created) FILTER (WHERE NOT t.came_in) AS last_sent_at
    FROM (
        SELECT m.account_id, m.message_id, m.created, m.sender AS address, true AS came_in
        FROM analytics.counted_messages AS m
        WHERE m.direction = 'incoming'
        UNION ALL
        -- Outgoing counted messages, said again in terms of the tables, so that a filter on the address comes first.
        -- DISTINCT: an address in to and in cc has got one message.
        SELECT DISTINCT r.account_id, r.message_id, m.created, r.address, false
        FROM mail.message_people AS r
        JOIN mail.messages AS m ON m.account_id = r.account_id AND m.message_id = r.message_id
        JOIN mail.message_people AS f
            ON f.account_id = r.account_id AND f.message_id = r.message_id AND f.role = 'from' AND f.position = 0
        JOIN analytics.own_addresses AS o ON o.account_id = r.account_id
        LEFT JOIN mail.folders AS d ON d.account_id = m.account_id AND d.folder_id = m.folder_id
        WHERE r.role <> 'from' AND r.address <> ALL (o.addresses) AND f.address = ANY (o.addresses)
            AND m.deleted_at IS NULL AND m.created IS NOT NULL
            AND coalesce(analytics.folder_set_aside(d.name), '') NOT IN ('draft', 'spam', 'trash')
            AND NOT EXISTS (
                SELECT
                FROM mail.message_labels AS l
                JOIN mail.labels AS n USING (account_id, label_id)
                WHERE l.account_id = r.account_id AND l.message_id = r.message_id AND n.name IN ('DRAFT', 'SPAM', 'TRASH')
            )
    ) AS t
    GROUP BY t.account_id, t.address
) AS c
-- OFFSET 0: a filter on the kind is tried on each correspondent, and not on each of their messages.
CROSS JOIN LATERAL (SELECT analytics.mail_kind(analytics.mail_sign(c.address, NULL)) AS kind OFFSET 0) AS told;

COMMENT ON VIEW analytics.correspondents IS 'Addresses an account had mail from or wrote to, own ones left out. Who was only copied on mail of others is no correspondent.';
COMMENT ON COLUMN analytics.correspondents.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.correspondents.address IS 'Their normalised address; a person with two addresses is two correspondents.';
COMMENT ON COLUMN analytics.correspondents.name IS 'Display name on the newest message that gives one.';
COMMENT ON COLUMN analytics.correspondents.received IS 'Incoming messages from them.';
COMMENT ON COLUMN analytics.correspondents.sent IS 'Outgoing messages to them, in to, cc or bcc.';
COMMENT ON COLUMN analytics.correspondents.first_at IS 'created of the first of all these; see analytics.freshness for how far back the mirror reaches.';
COMMENT ON COLUMN analytics.correspondents.last_at IS 'created of the last of all these.';
COMMENT ON COLUMN analytics.correspondents.last_received_at IS 'created of the last message from them; null without any.';
COMMENT ON COLUMN analytics.correspondents.last_sent_at IS 'created of the last message to them; null without any.';
COMMENT ON COLUMN analytics.correspondents.strength IS 'Square root of received times sent, to one decimal: grows with mail in both directions, 0 when it goes one way. It does not fade: filter on last_at.';
COMMENT ON COLUMN analytics.correspondents.kind IS 'person, automatic or bulk by the words in the address alone.';

CREATE VIEW analytics.attachment_types WITH (security_invoker = true) AS
SELECT
    account_id, family, type,
    count(*) AS attachments,
    count(DISTINCT message_id) AS messages,
    coalesce(sum(size), 0)::bigint AS bytes,
    count(*) FILTER (WHERE size IS NULL) AS without_size
FROM analytics.attachments
GROUP BY account_id, family, type;

COMMENT ON VIEW analytics.attachment_types IS 'Attachments of live messages by type. For a span of time group analytics.attachments by type and filter on created.';
COMMENT ON COLUMN analytics.attachment_types.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.attachment_types.family IS 'As analytics.attachments.family.';
COMMENT ON COLUMN analytics.attachment_types.type IS 'As analytics.attachments.type.';
COMMENT ON COLUMN analytics.attachment_types.attachments IS 'How many there are.';
COMMENT ON COLUMN analytics.attachment_types.messages IS 'On how many messages.';
COMMENT ON COLUMN analytics.attachment_types.bytes IS 'Sum of the sizes that are known.';
COMMENT ON COLUMN analytics.attachment_types.without_size IS 'How many have no known size, and are missing in bytes.';
