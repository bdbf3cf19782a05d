-- The change feed. Executed by 0005_feed.py; never edited after its release.
--
-- Every row that people see bears the transaction that changed it last (changed_in). The feed is those rows in the order
-- (changed_in, kind, account_id, key), as far as every transaction before them has ended: below the horizon. Nothing is
-- written for it but an index entry. A consumer's position is a place in that order. See docs/feed.md.

CREATE INDEX ix_people_changed_in ON mail.people (changed_in);
CREATE INDEX ix_labels_changed_in ON mail.labels (changed_in);
CREATE INDEX ix_folders_changed_in ON mail.folders (changed_in);
CREATE INDEX ix_accounts_changed_in ON sync.accounts (changed_in);

CREATE TABLE sync.feed (
    id smallint DEFAULT 1 NOT NULL,
    epoch bigint DEFAULT 1 NOT NULL,
    raised_at timestamptz,
    CONSTRAINT pk_feed PRIMARY KEY (id),
    CONSTRAINT ck_feed_one_row CHECK (id = 1)
);
INSERT INTO sync.feed DEFAULT VALUES;

COMMENT ON TABLE sync.feed IS 'One row: the part of the feed''s epoch that a person can raise. Written by mailmirror changes --new-epoch.';
COMMENT ON COLUMN sync.feed.id IS 'Always 1.';
COMMENT ON COLUMN sync.feed.epoch IS 'Grows by one when a restored database is made ready for the feed; positions from before are refused.';
COMMENT ON COLUMN sync.feed.raised_at IS 'When it was raised last.';

CREATE TABLE sync.consumers (
    name text NOT NULL,
    login text NOT NULL,
    round integer DEFAULT 1 NOT NULL,
    epoch text,
    changed_in xid8,
    kind smallint,
    account_id bigint,
    key text,
    acknowledged_at timestamptz,
    CONSTRAINT pk_consumers PRIMARY KEY (name),
    CONSTRAINT ck_consumers_name CHECK (octet_length(name) BETWEEN 1 AND 200)
);

COMMENT ON TABLE sync.consumers IS 'Who reads the change feed and how far each has read. Written by mail.acknowledge and mail.restart; people read mail.feed_status.';
COMMENT ON COLUMN sync.consumers.name IS 'Name the consumer gave itself.';
COMMENT ON COLUMN sync.consumers.login IS 'Database user that began it; no other one may move it, but those who may write this table.';
COMMENT ON COLUMN sync.consumers.round IS 'Grows by one when it begins again; positions of an earlier round are refused.';
COMMENT ON COLUMN sync.consumers.epoch IS 'Epoch of the feed its position belongs to; null while it stands at the beginning.';
COMMENT ON COLUMN sync.consumers.changed_in IS 'Transaction of the last change it acknowledged; null while it stands at the beginning.';
COMMENT ON COLUMN sync.consumers.kind IS 'Kind of that change: 1 account, 2 folder, 3 label, 4 person, 5 message, 6 erasure; 0 is before all of that transaction.';
COMMENT ON COLUMN sync.consumers.account_id IS 'Account of that change.';
COMMENT ON COLUMN sync.consumers.key IS 'Key of that change.';
COMMENT ON COLUMN sync.consumers.acknowledged_at IS 'When it last moved.';

CREATE TABLE sync.erasures (
    account_id bigint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    tenant_id text NOT NULL,
    erased_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    erased_at timestamptz DEFAULT sync.now() NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (account_id, kind, key),
    CONSTRAINT ck_erasures_kind CHECK (kind in ('account', 'message', 'person'))
);

CREATE INDEX ix_erasures_erased_in ON sync.erasures (erased_in);

COMMENT ON TABLE sync.erasures IS 'What was erased from the mirror for good, without its contents, so that consumers of the change feed erase it, too. Written by whatever erases.';
COMMENT ON COLUMN sync.erasures.account_id IS 'The account, which may be gone itself: sync.accounts.id, never used again.';
COMMENT ON COLUMN sync.erasures.kind IS 'account (with everything of it), message or person.';
COMMENT ON COLUMN sync.erasures.key IS 'The account''s number, message_id, or address.';
COMMENT ON COLUMN sync.erasures.tenant_id IS 'Whose account it was.';
COMMENT ON COLUMN sync.erasures.erased_in IS 'Transaction that erased it: its place in the change feed.';
COMMENT ON COLUMN sync.erasures.erased_at IS 'When it was erased.';

-- Runs with its owner's rights like mail.accounts: row-level rules for readers belong on this view's own WHERE.
CREATE VIEW mail.erasures AS
SELECT account_id, kind, key, erased_in, erased_at
FROM sync.erasures;

COMMENT ON VIEW mail.erasures IS 'What was erased from the mirror for good: sync.erasures for people.';
COMMENT ON COLUMN mail.erasures.account_id IS 'The account, which may be gone itself.';
COMMENT ON COLUMN mail.erasures.kind IS 'account (with everything of it), message or person.';
COMMENT ON COLUMN mail.erasures.key IS 'The account''s number, message_id, or address.';
COMMENT ON COLUMN mail.erasures.erased_in IS 'Transaction that erased it: its place in the change feed.';
COMMENT ON COLUMN mail.erasures.erased_at IS 'When it was erased.';

-- The server, its timeline, the database and its tables, and a counter: each way of going back to an older state changes
-- one of them, but for a restore of rows alone, after which a person raises the counter. A server that does not say one
-- of them (some managed ones) is told apart by the rest.
CREATE FUNCTION mail.feed_epoch() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cluster text := '';
    timeline text := '';
BEGIN
    BEGIN
        cluster := (SELECT system_identifier FROM pg_control_system());
        IF pg_is_in_recovery() THEN
            timeline := (SELECT lpad(upper(to_hex(timeline_id)), 8, '0') FROM pg_control_checkpoint());
        ELSE
            -- The checkpoint's may be older for a moment after a promotion.
            timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
        END IF;
    EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
        NULL;
    END;
    RETURN (
        SELECT left(encode(sha256(convert_to(concat_ws('/', cluster, timeline, d.oid,
            'sync.consumers'::regclass::oid, f.epoch), 'UTF8')), 'hex'), 12)
        FROM sync.feed AS f, pg_database AS d
        WHERE d.datname = current_database()
    );
END
$$;
COMMENT ON FUNCTION mail.feed_epoch() IS 'The feed''s epoch: changes when this database is restored, or goes on after a failover. A position of another epoch is refused.';

CREATE FUNCTION mail.feed_position() RETURNS text
LANGUAGE sql STABLE
RETURN mail.feed_epoch() || ':0:' || pg_snapshot_xmin(pg_current_snapshot())::text || ':0:0:';
COMMENT ON FUNCTION mail.feed_position() IS 'The position behind all that this transaction''s snapshot holds for certain. For one who copies the tables in a repeatable-read transaction: acknowledge it afterwards, and the feed goes on without a gap.';

CREATE FUNCTION mail.feed_parse("position" text,
    OUT epoch text, OUT round integer, OUT changed_in xid8, OUT kind smallint, OUT account_id bigint, OUT key text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text[] := regexp_match("position", '^([0-9a-f]{12}):(\d{1,9}):(\d{1,19}):([0-6]):(\d{1,18}):(.*)$');
BEGIN
    IF part IS NULL THEN
        RAISE EXCEPTION 'This is no position of the change feed.' USING ERRCODE = 'MM001';
    END IF;
    epoch := part[1];
    round := part[2];
    changed_in := part[3];
    kind := part[4];
    account_id := part[5];
    key := part[6];
END
$$;
COMMENT ON FUNCTION mail.feed_parse(text) IS 'Takes a position apart. Consumers need not: to them it is opaque.';

CREATE FUNCTION mail.feed_start(consumer text, after text DEFAULT NULL,
    OUT epoch text, OUT round integer, OUT changed_in xid8, OUT kind smallint, OUT account_id bigint, OUT key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    known sync.consumers;
    given record;
BEGIN
    epoch := mail.feed_epoch();
    SELECT * INTO known FROM sync.consumers AS c WHERE c.name = consumer;
    IF known.login <> session_user AND NOT has_table_privilege(session_user, 'sync.consumers', 'UPDATE') THEN
        RAISE EXCEPTION 'Consumer % belongs to the user %. Take another name.', consumer, known.login USING ERRCODE = 'MM002';
    END IF;
    IF known.epoch <> epoch THEN
        RAISE EXCEPTION 'Consumer % stands where it was before this database was restored or failed over. Let it begin again, with an empty copy: select mail.restart(%)', consumer, quote_literal(consumer)
            USING ERRCODE = 'MM003';
    END IF;
    round := coalesce(known.round, 1);
    changed_in := coalesce(known.changed_in, '0');
    kind := coalesce(known.kind, 0);
    account_id := coalesce(known.account_id, 0);
    key := coalesce(known.key, '');
    IF after IS NOT NULL THEN
        given := mail.feed_parse(after);
        IF given.epoch <> epoch THEN
            RAISE EXCEPTION 'The position is from before this database was restored or failed over. Let consumer % begin again, with an empty copy: select mail.restart(%)', consumer, quote_literal(consumer)
                USING ERRCODE = 'MM003';
        ELSIF given.round NOT IN (0, round) THEN
            RAISE EXCEPTION 'The position is from before consumer % began again.', consumer USING ERRCODE = 'MM004';
        END IF;
        changed_in := given.changed_in;
        kind := given.kind;
        account_id := given.account_id;
        key := given.key;
    END IF;
END
$$;
COMMENT ON FUNCTION mail.feed_start(text, text) IS 'Where a consumer goes on reading; refuses what is not its own or not of this epoch.';

CREATE FUNCTION mail.feed_foreign() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- No other transaction that this snapshot sees can be as young as that.
    bound xid8 := pg_snapshot_xmax(pg_current_snapshot());
    mine xid8 := coalesce(pg_current_xact_id_if_assigned(), '0');
BEGIN
    -- In this form the index is read whatever the plan is made for.
    RETURN coalesce(
        (SELECT changed_in FROM mail.messages WHERE changed_in >= bound AND changed_in <> mine ORDER BY changed_in LIMIT 1),
        (SELECT changed_in FROM mail.people WHERE changed_in >= bound AND changed_in <> mine ORDER BY changed_in LIMIT 1),
        (SELECT changed_in FROM mail.labels WHERE changed_in >= bound AND changed_in <> mine ORDER BY changed_in LIMIT 1),
        (SELECT changed_in FROM mail.folders WHERE changed_in >= bound AND changed_in <> mine ORDER BY changed_in LIMIT 1),
        (SELECT changed_in FROM mail.accounts WHERE changed_in >= bound AND changed_in <> mine ORDER BY changed_in LIMIT 1),
        (SELECT erased_in FROM mail.erasures WHERE erased_in >= bound AND erased_in <> mine ORDER BY erased_in LIMIT 1)
    ) IS NOT NULL;
END
$$;
COMMENT ON FUNCTION mail.feed_foreign() IS 'Whether rows bear transactions that this server has yet to come to: they were brought from another one.';

-- Each kind by its own index and no further than a page, then merged; rows are narrow here.
CREATE FUNCTION mail.feed_keys(after_in xid8, after_kind smallint, after_account bigint, after_key text, at_most integer)
RETURNS TABLE (changed_in xid8, kind smallint, account_id bigint, key text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
    -- By kind: where it begins within the transaction after_in. Kinds up to the one of the position are done with,
    -- those behind it not begun.
    low bigint[];
    lowest text[];
BEGIN
    FOR n IN 1..6 LOOP
        low[n] := CASE WHEN n < after_kind THEN 9223372036854775807 WHEN n = after_kind THEN after_account ELSE -1 END;
        lowest[n] := CASE WHEN n = after_kind THEN after_key ELSE '' END;
    END LOOP;
    RETURN QUERY
    SELECT * FROM (
        (SELECT a.changed_in, 1::smallint, a.id, a.id::text
        FROM mail.accounts AS a
        WHERE a.changed_in >= after_in AND a.changed_in < horizon AND (a.changed_in, a.id) > (after_in, low[1])
        ORDER BY a.changed_in, a.id LIMIT at_most)
        UNION ALL
        (SELECT f.changed_in, 2::smallint, f.account_id, f.folder_id
        FROM mail.folders AS f
        WHERE f.changed_in >= after_in AND f.changed_in < horizon
            AND (f.changed_in, f.account_id, f.folder_id COLLATE "C") > (after_in, low[2], lowest[2])
        ORDER BY f.changed_in, f.account_id, f.folder_id COLLATE "C" LIMIT at_most)
        UNION ALL
        (SELECT l.changed_in, 3::smallint, l.account_id, l.label_id
        FROM mail.labels AS l
        WHERE l.changed_in >= after_in AND l.changed_in < horizon
            AND (l.changed_in, l.account_id, l.label_id COLLATE "C") > (after_in, low[3], lowest[3])
        ORDER BY l.changed_in, l.account_id, l.label_id COLLATE "C" LIMIT at_most)
        UNION ALL
        (SELECT p.changed_in, 4::smallint, p.account_id, p.address
        FROM mail.people AS p
        WHERE p.changed_in >= after_in AND p.changed_in < horizon
            AND (p.changed_in, p.account_id, p.address COLLATE "C") > (after_in, low[4], lowest[4])
        ORDER BY p.changed_in, p.account_id, p.address COLLATE "C" LIMIT at_most)
        UNION ALL
        (SELECT m.changed_in, 5::smallint, m.account_id, m.message_id
        FROM mail.messages AS m
        WHERE m.changed_in >= after_in AND m.changed_in < horizon
            AND (m.changed_in, m.account_id, m.message_id COLLATE "C") > (after_in, low[5], lowest[5])
        ORDER BY m.changed_in, m.account_id, m.message_id COLLATE "C" LIMIT at_most)
        UNION ALL
        -- What came back in a transaction that began before the one that erased it, and ended after it, was not erased.
        (SELECT e.erased_in, 6::smallint, e.account_id, e.kind || ':' || e.key
        FROM mail.erasures AS e
        WHERE e.erased_in >= after_in AND e.erased_in < horizon
            AND (e.erased_in, e.account_id, (e.kind || ':' || e.key) COLLATE "C") > (after_in, low[6], lowest[6])
            AND NOT (e.kind = 'message' AND EXISTS (
                SELECT FROM mail.messages AS m
                WHERE m.account_id = e.account_id AND m.message_id = e.key AND m.changed_in <= e.erased_in))
            AND NOT (e.kind = 'person' AND EXISTS (
                SELECT FROM mail.people AS p
                WHERE p.account_id = e.account_id AND p.address = e.key AND p.changed_in <= e.erased_in))
        ORDER BY e.erased_in, e.account_id, (e.kind || ':' || e.key) COLLATE "C" LIMIT at_most)
    ) AS merged (changed_in, kind, account_id, key)
    ORDER BY merged.changed_in, merged.kind, merged.account_id, merged.key COLLATE "C"
    LIMIT at_most;
END
$$;
COMMENT ON FUNCTION mail.feed_keys(xid8, smallint, bigint, text, integer) IS 'The next places of the feed behind one, without contents.';

CREATE FUNCTION mail.changes(consumer text, at_most integer DEFAULT 1000, after text DEFAULT NULL)
RETURNS TABLE ("position" text, kind text, account_id bigint, key text, deleted boolean, state jsonb, changed_in xid8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    start record;
    found record;
    most_bytes CONSTANT bigint := 16 * 1024 * 1024;
    bytes bigint := 0;
BEGIN
    IF coalesce(octet_length(consumer), 0) NOT BETWEEN 1 AND 200 OR coalesce(at_most, 0) < 1 THEN
        RAISE EXCEPTION 'A consumer has a name of at most 200 bytes, and a page at least 1 row.' USING ERRCODE = 'MM001';
    END IF;
    IF mail.feed_foreign() THEN
        RAISE EXCEPTION 'This database was restored from another server, and the feed waits to be begun anew. Run once: mailmirror changes --new-epoch'
            USING ERRCODE = 'MM003';
    END IF;
    start := mail.feed_start(consumer, after);
    FOR found IN
        SELECT k.changed_in, k.kind, k.account_id, k.key, s.state
        FROM mail.feed_keys(start.changed_in, start.kind, start.account_id, start.key, at_most) AS k
        CROSS JOIN LATERAL (SELECT CASE k.kind
            WHEN 1 THEN (
                SELECT to_jsonb(a) - '{changed_in,polled_at}'::text[] FROM mail.accounts AS a WHERE a.id = k.account_id)
            WHEN 2 THEN (
                SELECT to_jsonb(f) - 'changed_in' FROM mail.folders AS f
                WHERE f.account_id = k.account_id AND f.folder_id = k.key)
            WHEN 3 THEN (
                SELECT to_jsonb(l) - 'changed_in' FROM mail.labels AS l
                WHERE l.account_id = k.account_id AND l.label_id = k.key)
            WHEN 4 THEN (
                SELECT to_jsonb(p) - 'changed_in' FROM mail.people AS p
                WHERE p.account_id = k.account_id AND p.address = k.key)
            WHEN 5 THEN (
                SELECT to_jsonb(m) - '{changed_in,digest}'::text[] || jsonb_build_object(
                    'people', (
                        SELECT coalesce(jsonb_agg(to_jsonb(i) - '{account_id,message_id}'::text[]
                            ORDER BY array_position(ARRAY['from', 'to', 'cc', 'bcc'], i.role), i.position), '[]')
                        FROM mail.message_people AS i
                        WHERE i.account_id = m.account_id AND i.message_id = m.message_id),
                    'labels', (
                        SELECT coalesce(jsonb_agg(to_jsonb(l) - '{account_id,message_id}'::text[]
                            ORDER BY l.label_id COLLATE "C"), '[]')
                        FROM mail.message_labels AS l
                        WHERE l.account_id = m.account_id AND l.message_id = m.message_id),
                    'attachments', (
                        SELECT coalesce(jsonb_agg(to_jsonb(t) - '{account_id,message_id}'::text[]
                            ORDER BY t.position), '[]')
                        FROM mail.attachments AS t
                        WHERE t.account_id = m.account_id AND t.message_id = m.message_id))
                FROM mail.messages AS m
                WHERE m.account_id = k.account_id AND m.message_id = k.key)
            ELSE (
                SELECT jsonb_build_object('kind', e.kind, 'key', e.key, 'erased_at', e.erased_at) FROM mail.erasures AS e
                WHERE e.account_id = k.account_id AND e.kind = split_part(k.key, ':', 1)
                    AND e.key = substr(k.key, strpos(k.key, ':') + 1))
            END) AS s (state)
    LOOP -- in the order of mail.feed_keys: to sort here would read all rows before the first is given
        "position" := concat_ws(':', start.epoch, start.round, found.changed_in, found.kind, found.account_id, found.key);
        kind := (ARRAY['account', 'folder', 'label', 'person', 'message', 'erasure'])[found.kind];
        account_id := found.account_id;
        key := CASE WHEN found.kind = 6 THEN found.state ->> 'key' ELSE found.key END;
        state := found.state;
        deleted := CASE found.kind
            WHEN 5 THEN state ->> 'deleted_at' IS NOT NULL
            WHEN 6 THEN true
            ELSE coalesce(state ->> 'gone_at', '') <> ''
            END;
        changed_in := found.changed_in;
        RETURN NEXT;
        bytes := bytes + pg_column_size(found.state);
        EXIT WHEN bytes > most_bytes;
    END LOOP;
END
$$;
COMMENT ON FUNCTION mail.changes(text, integer, text) IS 'The next rows that changed behind what the consumer has acknowledged, or behind the position after: at most so many, and fewer where they are large; none means that there is nothing new. state is the row as it is now; a message comes with its people, labels and attachments. Reading moves nothing: mail.acknowledge does.';

CREATE FUNCTION mail.acknowledge(consumer text, "position" text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record := mail.feed_parse("position");
    start record := mail.feed_start(consumer, "position");
    horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
BEGIN
    IF given.changed_in > horizon OR (given.changed_in = horizon AND given.kind > 0) THEN
        RAISE EXCEPTION 'The position lies beyond what the feed has given out.' USING ERRCODE = 'MM004';
    END IF;
    INSERT INTO sync.consumers AS c (name, login, epoch, changed_in, kind, account_id, key, acknowledged_at)
    VALUES (consumer, session_user, start.epoch, given.changed_in, given.kind, given.account_id, given.key, sync.now())
    ON CONFLICT (name) DO UPDATE
    SET epoch = excluded.epoch, changed_in = excluded.changed_in, kind = excluded.kind,
        account_id = excluded.account_id, key = excluded.key, acknowledged_at = excluded.acknowledged_at
    WHERE c.round = start.round
        AND (c.login = session_user OR has_table_privilege(session_user, 'sync.consumers', 'UPDATE'))
        AND (c.changed_in IS NULL OR (c.changed_in, c.kind, c.account_id, c.key COLLATE "C")
            < (excluded.changed_in, excluded.kind, excluded.account_id, excluded.key COLLATE "C"));
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION mail.acknowledge(text, text) IS 'Moves a consumer forward to a position it was given; false where it stands there or further already. Begins the consumer where there is none of that name.';

CREATE FUNCTION mail.restart(consumer text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner text := (SELECT login FROM sync.consumers WHERE name = consumer);
BEGIN
    IF owner <> session_user AND NOT has_table_privilege(session_user, 'sync.consumers', 'UPDATE') THEN
        RAISE EXCEPTION 'Consumer % belongs to the user %. Take another name.', consumer, owner USING ERRCODE = 'MM002';
    END IF;
    INSERT INTO sync.consumers AS c (name, login)
    VALUES (consumer, session_user)
    ON CONFLICT (name) DO UPDATE
    SET round = c.round + 1, epoch = NULL, changed_in = NULL, kind = NULL, account_id = NULL, key = NULL,
        acknowledged_at = NULL;
END
$$;
COMMENT ON FUNCTION mail.restart(text) IS 'Lets a consumer begin again: the feed gives it every row there is. Positions it was given before are refused.';

CREATE FUNCTION mail.feed_waiting(after_in xid8, after_kind smallint, after_account bigint, after_key text,
    OUT waiting integer, OUT since timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*)::integer, (
        SELECT m.changed_at FROM mail.messages AS m
        WHERE m.changed_in = (min(k.changed_in::text::numeric) FILTER (WHERE k.kind = 5))::text::xid8 LIMIT 1)
    FROM mail.feed_keys(after_in, after_kind, after_account, after_key, 10000) AS k;
END;
COMMENT ON FUNCTION mail.feed_waiting(xid8, smallint, bigint, text) IS 'How many rows wait behind a place of the feed, counted up to 10,000, and since when the first message among them does.';

CREATE VIEW mail.feed_horizon AS
SELECT
    mail.feed_epoch() AS epoch,
    pg_snapshot_xmin(pg_current_snapshot()) AS horizon,
    pg_snapshot_xmax(pg_current_snapshot()) AS next,
    holder.pid AS held_by_pid,
    holder.who AS held_by,
    holder.since AS held_since,
    clock_timestamp() - holder.since AS held_for,
    (
        SELECT m.changed_at FROM mail.messages AS m
        WHERE m.changed_in >= pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY m.changed_in LIMIT 1
    ) AS waiting_since
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT a.pid, concat_ws(' ', a.usename, 'in database', a.datname, '(' || nullif(a.application_name, '') || ')'),
        a.xact_start
    FROM pg_stat_activity AS a
    WHERE a.backend_xid = pg_snapshot_xmin(pg_current_snapshot())::xid
    UNION ALL
    SELECT NULL, concat_ws(' ', 'prepared transaction', p.gid, 'in database', p.database), p.prepared
    FROM pg_prepared_xacts AS p
    WHERE p.transaction = pg_snapshot_xmin(pg_current_snapshot())::xid
    LIMIT 1
) AS holder (pid, who, since) ON true;

COMMENT ON VIEW mail.feed_horizon IS 'How far the change feed reaches, and which transaction it waits for. One row.';
COMMENT ON COLUMN mail.feed_horizon.epoch IS 'The feed''s epoch: changes when this database is restored, or goes on after a failover.';
COMMENT ON COLUMN mail.feed_horizon.horizon IS 'Oldest transaction under way on the server, in whatever database: the feed gives out what is older.';
COMMENT ON COLUMN mail.feed_horizon.next IS 'Behind the newest transaction that has ended; equal to the horizon when nothing waits.';
COMMENT ON COLUMN mail.feed_horizon.held_by_pid IS 'Process of that oldest transaction; null when there is none, or when it is a prepared one.';
COMMENT ON COLUMN mail.feed_horizon.held_by IS 'Whose it is: user, database and application, or the name of a prepared transaction.';
COMMENT ON COLUMN mail.feed_horizon.held_since IS 'When it began; null for those who may not see other users'' sessions (pg_read_all_stats).';
COMMENT ON COLUMN mail.feed_horizon.held_for IS 'How long it has been open.';
COMMENT ON COLUMN mail.feed_horizon.waiting_since IS 'When the first message changed that the feed cannot give out yet; null when there is none.';

CREATE VIEW mail.feed_status AS
SELECT
    c.name AS consumer,
    c.login,
    c.epoch IS NULL OR c.epoch = h.epoch AS current,
    c.acknowledged_at,
    c.changed_in,
    w.waiting,
    w.since AS waiting_since,
    h.held_by_pid,
    h.held_by,
    h.held_since,
    h.held_for
FROM sync.consumers AS c
CROSS JOIN mail.feed_horizon AS h
CROSS JOIN LATERAL mail.feed_waiting(
    coalesce(c.changed_in, '0'), coalesce(c.kind, 0::smallint), coalesce(c.account_id, 0), coalesce(c.key, '')) AS w
WHERE c.login = session_user OR has_table_privilege(session_user, 'sync.consumers'::regclass::oid, 'SELECT');

COMMENT ON VIEW mail.feed_status IS 'How far each consumer of the change feed has read, and what holds it back. One sees one''s own consumers; the worker sees all.';
COMMENT ON COLUMN mail.feed_status.consumer IS 'Name of the consumer.';
COMMENT ON COLUMN mail.feed_status.login IS 'Database user that began it.';
COMMENT ON COLUMN mail.feed_status.current IS 'Whether its position is of this epoch; if not, it must begin again: mail.restart.';
COMMENT ON COLUMN mail.feed_status.acknowledged_at IS 'When it last moved; null while it stands at the beginning.';
COMMENT ON COLUMN mail.feed_status.changed_in IS 'Transaction of the last change it acknowledged.';
COMMENT ON COLUMN mail.feed_status.waiting IS 'Rows that it can read now, counted up to 10,000.';
COMMENT ON COLUMN mail.feed_status.waiting_since IS 'When the first message among them changed; null when none waits.';
COMMENT ON COLUMN mail.feed_status.held_by_pid IS 'Process of the transaction that holds the feed back: see mail.feed_horizon.';
COMMENT ON COLUMN mail.feed_status.held_by IS 'Whose transaction that is.';
COMMENT ON COLUMN mail.feed_status.held_since IS 'When it began, as far as one may see it.';
COMMENT ON COLUMN mail.feed_status.held_for IS 'How long it has been open, as far as one may see it.';

REVOKE ALL ON ALL ROUTINES IN SCHEMA mail FROM PUBLIC;
