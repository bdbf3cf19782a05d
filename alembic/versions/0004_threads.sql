-- Part of schema analytics: conversations, answers, and who waits for one.
-- Each row stands on one message, so that a filter on account and time goes to the index on (account_id, created), and
-- the rest of the thread is looked up by (account_id, thread_id).

CREATE FUNCTION analytics.business_seconds(
    began timestamptz,
    ended timestamptz,
    time_zone text DEFAULT 'UTC',
    opens time DEFAULT '09:00',
    closes time DEFAULT '17:00',
    weekdays integer[] DEFAULT '{1,2,3,4,5}'
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN began IS NOT NULL AND ended IS NOT NULL THEN (
    SELECT coalesce(sum(extract(epoch FROM hours.until - hours.since)), 0)::bigint
    FROM generate_series(
        date_trunc('day', began AT TIME ZONE time_zone), date_trunc('day', ended AT TIME ZONE time_zone), interval '1 day'
    ) AS day
    CROSS JOIN LATERAL (
        SELECT
            greatest(began, (day + opens) AT TIME ZONE time_zone) AS since,
            least(ended, (day + closes) AT TIME ZONE time_zone) AS until
    ) AS hours
    WHERE extract(isodow FROM day) = ANY (weekdays) AND hours.until > hours.since
) END;

COMMENT ON FUNCTION analytics.business_seconds(timestamptz, timestamptz, text, time, time, integer[]) IS 'Seconds of a span that fall into business hours: local time of a time zone, from opens to closes (24:00 is allowed), on weekdays from 1 (Monday) to 7. Knows no holidays. 0 when the span ends before it begins; null when an end is null.';

CREATE VIEW analytics.replies WITH (security_invoker = true) AS
SELECT
    r.account_id,
    r.thread_id,
    r.message_id,
    r.direction,
    r.sender,
    r.created AS replied_at,
    p.message_id AS replied_to,
    p.sender AS replied_to_sender,
    p.created AS received_at,
    extract(epoch FROM r.created - p.created)::bigint AS response_seconds,
    NOT EXISTS (
        SELECT
        FROM analytics.counted_messages AS b
        WHERE b.account_id = r.account_id AND b.thread_id = r.thread_id AND b.direction = r.direction
            AND b.kind = 'person'
            AND (b.created, b.message_id) > (p.created, p.message_id)
            AND (b.created, b.message_id) < (r.created, r.message_id)
    ) AS is_first,
    CASE
        WHEN r.kind <> 'person' OR p.kind <> 'person' THEN 'low'
        WHEN NOT EXISTS (
            SELECT
            FROM mail.message_people AS t
            WHERE t.account_id = r.account_id AND t.role <> 'from'
                AND t.message_id = CASE r.direction WHEN 'outgoing' THEN r.message_id ELSE p.message_id END
                AND t.address = CASE r.direction WHEN 'outgoing' THEN p.sender ELSE r.sender END
        ) THEN 'low'
        WHEN analytics.topic(r.subject) = analytics.topic(p.subject) THEN 'high'
        ELSE 'medium'
    END AS confidence
FROM analytics.counted_messages AS r
CROSS JOIN LATERAL (
    SELECT o.message_id, o.created, o.sender, o.subject, o.kind
    FROM analytics.counted_messages AS o
    WHERE o.account_id = r.account_id AND o.thread_id = r.thread_id
        AND (o.created, o.message_id) < (r.created, r.message_id)
        AND o.direction = CASE r.direction WHEN 'incoming' THEN 'outgoing' ELSE 'incoming' END
    ORDER BY o.created DESC, o.message_id DESC
    LIMIT 1
) AS p
WHERE r.direction IN ('incoming', 'outgoing');

COMMENT ON VIEW analytics.replies IS 'Messages that follow one of the other side in their thread, with the time it took. Reply headers are not mirrored, so a reply is told by thread, direction and time: see confidence. Mail without a thread has no replies here. For business hours: analytics.business_seconds(received_at, replied_at, ...).';
COMMENT ON COLUMN analytics.replies.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.replies.thread_id IS 'The thread.';
COMMENT ON COLUMN analytics.replies.message_id IS 'The reply.';
COMMENT ON COLUMN analytics.replies.direction IS 'outgoing: an own address replied; incoming: somebody replied to an own address.';
COMMENT ON COLUMN analytics.replies.sender IS 'Who replied.';
COMMENT ON COLUMN analytics.replies.replied_at IS 'created of the reply.';
COMMENT ON COLUMN analytics.replies.replied_to IS 'The newest message of the other side before it.';
COMMENT ON COLUMN analytics.replies.replied_to_sender IS 'Who wrote that.';
COMMENT ON COLUMN analytics.replies.received_at IS 'created of the message replied to.';
COMMENT ON COLUMN analytics.replies.response_seconds IS 'Seconds from received_at to replied_at, nights and weekends included.';
COMMENT ON COLUMN analytics.replies.is_first IS 'Whether nobody of the same side, machines apart, wrote between the two; false for a second answer to the same message. Response times usually count first replies alone.';
COMMENT ON COLUMN analytics.replies.confidence IS 'high: both of persons, addressed to each other, same subject but for Re: and its like. medium: the subject differs. low: not addressed to each other (a forward, a list, a third person), or one of the two is automatic mail.';

CREATE VIEW analytics.awaiting_reply WITH (security_invoker = true) AS
SELECT
    z.account_id,
    z.thread_id,
    z.message_id,
    CASE z.direction WHEN 'incoming' THEN 'us' ELSE 'them' END AS awaiting,
    z.sender,
    z.subject,
    z.addressed_as,
    z.created AS since,
    now() - z.created AS waiting
FROM analytics.counted_messages AS z
WHERE z.thread_id IS NOT NULL
    AND z.direction IN ('incoming', 'outgoing')
    AND z.kind = 'person'
    AND NOT EXISTS (
        SELECT
        FROM analytics.counted_messages AS n
        WHERE n.account_id = z.account_id AND n.thread_id = z.thread_id
            AND (n.created, n.message_id) > (z.created, z.message_id)
            AND n.direction IN ('incoming', 'outgoing')
            AND n.kind = 'person'
    );

COMMENT ON VIEW analytics.awaiting_reply IS 'Threads with the last message a person wrote in them, and whose turn it is. Automatic mail neither waits nor answers. A last word that needs no answer ("Thanks!") waits here, too: the mirror cannot know.';
COMMENT ON COLUMN analytics.awaiting_reply.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.awaiting_reply.thread_id IS 'The thread; mail without one is left out.';
COMMENT ON COLUMN analytics.awaiting_reply.message_id IS 'The last message a person wrote.';
COMMENT ON COLUMN analytics.awaiting_reply.awaiting IS 'us: it came in, an own address has not answered. them: it went out, nobody has answered.';
COMMENT ON COLUMN analytics.awaiting_reply.sender IS 'Who wrote it.';
COMMENT ON COLUMN analytics.awaiting_reply.subject IS 'Its subject.';
COMMENT ON COLUMN analytics.awaiting_reply.addressed_as IS 'Where an own address stands on it: to, cc, bcc or nowhere (null); one that is only copied seldom has to answer.';
COMMENT ON COLUMN analytics.awaiting_reply.since IS 'Its created.';
COMMENT ON COLUMN analytics.awaiting_reply.waiting IS 'Time from then to now.';

CREATE VIEW analytics.threads WITH (security_invoker = true) AS
SELECT
    z.account_id,
    z.thread_id,
    t.first_at,
    z.created AS last_at,
    t.messages,
    t.incoming,
    t.outgoing,
    (
        SELECT count(DISTINCT w.address)
        FROM mail.messages AS m
        JOIN mail.message_people AS w USING (account_id, message_id)
        WHERE m.account_id = z.account_id AND m.thread_id = z.thread_id AND m.deleted_at IS NULL
    ) AS participants,
    z.subject AS last_subject,
    z.message_id AS last_message_id,
    z.sender AS last_sender,
    z.direction AS last_direction,
    (
        SELECT a.awaiting
        FROM analytics.awaiting_reply AS a
        WHERE a.account_id = z.account_id AND a.thread_id = z.thread_id
    ) AS awaiting
FROM analytics.counted_messages AS z
CROSS JOIN LATERAL (
    SELECT
        min(m.created) AS first_at,
        count(*) AS messages,
        count(*) FILTER (WHERE m.direction = 'incoming') AS incoming,
        count(*) FILTER (WHERE m.direction = 'outgoing') AS outgoing
    FROM analytics.counted_messages AS m
    WHERE m.account_id = z.account_id AND m.thread_id = z.thread_id
) AS t
WHERE z.thread_id IS NOT NULL
    AND NOT EXISTS (
        SELECT
        FROM analytics.counted_messages AS n
        WHERE n.account_id = z.account_id AND n.thread_id = z.thread_id
            AND (n.created, n.message_id) > (z.created, z.message_id)
    );

COMMENT ON VIEW analytics.threads IS 'Conversations as the upstream groups them, one row each, told by their last message; mail without a thread is left out. Filter on last_at for a span of time.';
COMMENT ON COLUMN analytics.threads.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.threads.thread_id IS 'The thread; the upstream''s opaque id.';
COMMENT ON COLUMN analytics.threads.first_at IS 'created of its first counted message.';
COMMENT ON COLUMN analytics.threads.last_at IS 'created of its last counted message.';
COMMENT ON COLUMN analytics.threads.messages IS 'Counted messages (analytics.counted_messages).';
COMMENT ON COLUMN analytics.threads.incoming IS 'Those that came in.';
COMMENT ON COLUMN analytics.threads.outgoing IS 'Those that went out.';
COMMENT ON COLUMN analytics.threads.participants IS 'Different addresses among senders and recipients of its live messages, own ones included.';
COMMENT ON COLUMN analytics.threads.last_subject IS 'Subject of the last message.';
COMMENT ON COLUMN analytics.threads.last_message_id IS 'The last message; of two in the same second the one with the greater id.';
COMMENT ON COLUMN analytics.threads.last_sender IS 'Who wrote it.';
COMMENT ON COLUMN analytics.threads.last_direction IS 'Its direction.';
COMMENT ON COLUMN analytics.threads.awaiting IS 'Whose turn it is by analytics.awaiting_reply: us, them, or null.';
