-- Views of schema mail. Executed by 0001_first.py; never edited after its release.

-- The one view that runs with its owner's rights: a reader has no grant on sync.accounts, and needs none,
-- because only harmless columns stand here. Row-level rules for readers belong on this view's own WHERE.
CREATE VIEW mail.accounts AS
SELECT
    id,
    tenant_id,
    kind,
    service,
    upstream_id,
    address,
    status,
    status_reason,
    polled_at,
    created_at,
    changed_in
FROM sync.accounts;

COMMENT ON VIEW mail.accounts IS 'Mirrored accounts, without anything secret: sync.accounts for people.';
COMMENT ON COLUMN mail.accounts.id IS 'The account: account_id of every table of this schema.';
COMMENT ON COLUMN mail.accounts.tenant_id IS 'Whose account it is.';
COMMENT ON COLUMN mail.accounts.kind IS 'Kind of source, such as kloudless.';
COMMENT ON COLUMN mail.accounts.service IS 'Mail service behind the source, such as gmail.';
COMMENT ON COLUMN mail.accounts.upstream_id IS 'The account''s id at the upstream.';
COMMENT ON COLUMN mail.accounts.address IS 'The mailbox''s e-mail address.';
COMMENT ON COLUMN mail.accounts.status IS 'active, backing_off, auth_required, degraded, gone or paused: see sync.accounts.status.';
COMMENT ON COLUMN mail.accounts.status_reason IS 'Why the status is not active, in one sentence.';
COMMENT ON COLUMN mail.accounts.polled_at IS 'When changes were last read to their end.';
COMMENT ON COLUMN mail.accounts.created_at IS 'When the account was added.';
COMMENT ON COLUMN mail.accounts.changed_in IS 'Transaction of the last change to this row, polled_at apart: its place in the change feed.';

-- The others run with the reader's rights, so that grants and row-level security on the tables hold.
CREATE VIEW mail.live_messages WITH (security_invoker = true) AS
SELECT
    account_id, message_id, thread_id, folder_id, subject, snippet, created, created_raw, text_body, body,
    body_size, body_truncated, rfc822_file_id, has_attachments, raw, altered, first_seen_at, changed_at,
    changed_in, digest
FROM mail.messages
WHERE deleted_at IS NULL;

CREATE VIEW mail.live_message_people WITH (security_invoker = true) AS
SELECT p.account_id, p.message_id, p.role, p.position, p.address, p.email, p.name
FROM mail.message_people AS p
JOIN mail.messages AS m USING (account_id, message_id)
WHERE m.deleted_at IS NULL;

CREATE VIEW mail.live_message_labels WITH (security_invoker = true) AS
SELECT l.account_id, l.message_id, l.label_id
FROM mail.message_labels AS l
JOIN mail.messages AS m USING (account_id, message_id)
WHERE m.deleted_at IS NULL;

CREATE VIEW mail.live_attachments WITH (security_invoker = true) AS
SELECT a.account_id, a.message_id, a.position, a.file_id, a.name, a.mime_type, a.size, a.href
FROM mail.attachments AS a
JOIN mail.messages AS m USING (account_id, message_id)
WHERE m.deleted_at IS NULL;

COMMENT ON VIEW mail.live_messages IS 'mail.messages without tombstones.';
COMMENT ON VIEW mail.live_message_people IS 'mail.message_people of live messages.';
COMMENT ON VIEW mail.live_message_labels IS 'mail.message_labels of live messages.';
COMMENT ON VIEW mail.live_attachments IS 'mail.attachments of live messages.';

-- A column of a live_ view means what it means in its table.
DO $$
DECLARE
    col record;
BEGIN
    FOR col IN
        SELECT v.oid::regclass AS view, a.attname, col_description(t.oid, b.attnum) AS words
        FROM pg_class AS v
        JOIN pg_class AS t ON t.relnamespace = v.relnamespace AND 'live_' || t.relname = v.relname
        JOIN pg_attribute AS a ON a.attrelid = v.oid AND a.attnum > 0
        JOIN pg_attribute AS b ON b.attrelid = t.oid AND b.attname = a.attname
        WHERE v.relnamespace = 'mail'::regnamespace AND v.relkind = 'v'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', col.view, col.attname, col.words);
    END LOOP;
END
$$;
