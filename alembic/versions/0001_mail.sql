-- Schema mail: what people query. Executed by 0001_first.py; never edited after its release.
-- No foreign keys: one writer and one transaction keep it whole, and they cost a quarter of the write speed.

CREATE TABLE mail.messages (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    thread_id text,
    folder_id text,
    subject text,
    snippet text,
    created timestamptz,
    created_raw text,
    text_body text,
    body text,
    body_size integer,
    body_truncated boolean DEFAULT false NOT NULL,
    rfc822_file_id text,
    has_attachments boolean DEFAULT false NOT NULL,
    raw jsonb,
    altered text[],
    first_seen_at timestamptz DEFAULT sync.now() NOT NULL,
    changed_at timestamptz DEFAULT sync.now() NOT NULL,
    changed_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    digest bytea,
    deleted_at timestamptz,
    found_gone text,
    CONSTRAINT pk_messages PRIMARY KEY (account_id, message_id),
    CONSTRAINT ck_messages_found_gone CHECK (found_gone in ('event', 'sweep'))
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX ix_messages_account_id_created ON mail.messages (account_id, created);
CREATE INDEX ix_messages_account_id_deleted_at ON mail.messages (account_id, deleted_at) WHERE deleted_at is not null;
CREATE INDEX ix_messages_account_id_thread_id ON mail.messages (account_id, thread_id);
CREATE INDEX ix_messages_changed_in ON mail.messages (changed_in);

COMMENT ON TABLE mail.messages IS 'Messages, one row each, tombstones included (deleted_at); mail.live_messages shows the live ones. The sender is role ''from'' in mail.message_people. Written by the worker only.';
COMMENT ON COLUMN mail.messages.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.messages.message_id IS 'The message''s id at the upstream; opaque, at most 1 kB.';
COMMENT ON COLUMN mail.messages.thread_id IS 'Conversation it belongs to; opaque id of the upstream.';
COMMENT ON COLUMN mail.messages.folder_id IS 'Folder it lies in: mail.folders.folder_id.';
COMMENT ON COLUMN mail.messages.subject IS 'Subject line.';
COMMENT ON COLUMN mail.messages.snippet IS 'Short preview made by the upstream.';
COMMENT ON COLUMN mail.messages.created IS 'When the mailbox got the message, whole seconds; null when the upstream''s value was no valid time.';
COMMENT ON COLUMN mail.messages.created_raw IS 'The upstream''s own text for created, only when it was no valid time.';
COMMENT ON COLUMN mail.messages.text_body IS 'Plain-text body.';
COMMENT ON COLUMN mail.messages.body IS 'Body, usually HTML, as the sender wrote it: never show it outside a sandboxed frame.';
COMMENT ON COLUMN mail.messages.body_size IS 'UTF-8 bytes of the upstream''s body before any cut; null where it gave none.';
COMMENT ON COLUMN mail.messages.body_truncated IS 'Whether body or text_body was cut at the size limit of the settings.';
COMMENT ON COLUMN mail.messages.rfc822_file_id IS 'File id of the whole message (RFC 822), as last seen; the upstream may change it.';
COMMENT ON COLUMN mail.messages.has_attachments IS 'Whether mail.attachments has rows for it.';
COMMENT ON COLUMN mail.messages.raw IS 'The mail service''s own object as last seen; only kept where the settings ask for it.';
COMMENT ON COLUMN mail.messages.altered IS 'Fields that had to be cleaned on the way in, such as of NUL characters; null when none.';
COMMENT ON COLUMN mail.messages.first_seen_at IS 'When the mirror first wrote this row.';
COMMENT ON COLUMN mail.messages.changed_at IS 'When this row, its people, labels or attachments last changed here.';
COMMENT ON COLUMN mail.messages.changed_in IS 'Transaction of the last change to the message with its people, labels and attachments: its place in the change feed.';
COMMENT ON COLUMN mail.messages.digest IS 'Fingerprint of what is stored, to find unchanged messages; null for a tombstone of a message never seen.';
COMMENT ON COLUMN mail.messages.deleted_at IS 'When the mirror learned that the message is gone upstream; null while it is live.';
COMMENT ON COLUMN mail.messages.found_gone IS 'How its absence was noticed: event (the upstream told) or sweep (missing in a whole walk).';

CREATE TABLE mail.people (
    account_id bigint NOT NULL,
    address text NOT NULL,
    name text,
    name_at timestamptz,
    name_on text,
    changed_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_people PRIMARY KEY (account_id, address)
);

COMMENT ON TABLE mail.people IS 'Addresses seen in an account with the newest display name of each. Written by the worker only.';
COMMENT ON COLUMN mail.people.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.people.address IS 'Normalised e-mail address; one over 320 bytes is its first 200 bytes, ''#'' and its SHA-256.';
COMMENT ON COLUMN mail.people.name IS 'Display name on the newest message that gives one.';
COMMENT ON COLUMN mail.people.name_at IS 'created of the message the name was read on; the name changes only when this grows.';
COMMENT ON COLUMN mail.people.name_on IS 'message_id of the message the name was read on; decides between messages of the same second.';
COMMENT ON COLUMN mail.people.changed_in IS 'Transaction of the last change: the row''s place in the change feed.';

CREATE TABLE mail.message_people (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    role text NOT NULL,
    position integer NOT NULL,
    address text,
    email text,
    name text,
    CONSTRAINT pk_message_people PRIMARY KEY (account_id, message_id, role, position),
    CONSTRAINT ck_message_people_role CHECK (role in ('from', 'to', 'cc', 'bcc'))
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX ix_message_people_account_id_address ON mail.message_people (account_id, address);

COMMENT ON TABLE mail.message_people IS 'Senders and recipients as written on each message; those of tombstones stay as last known. Written by the worker only.';
COMMENT ON COLUMN mail.message_people.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_people.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_people.role IS 'Where it is written: from, to, cc or bcc.';
COMMENT ON COLUMN mail.message_people.position IS 'Place within the role, from 0.';
COMMENT ON COLUMN mail.message_people.address IS 'Normalised address: mail.people.address; null where no address is written.';
COMMENT ON COLUMN mail.message_people.email IS 'Address exactly as written on this message.';
COMMENT ON COLUMN mail.message_people.name IS 'Display name exactly as written on this message.';

CREATE TABLE mail.labels (
    account_id bigint NOT NULL,
    label_id text NOT NULL,
    name text,
    gone_at timestamptz,
    changed_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_labels PRIMARY KEY (account_id, label_id)
);

COMMENT ON TABLE mail.labels IS 'Labels seen on messages of an account, with their names. Written by the worker only.';
COMMENT ON COLUMN mail.labels.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.labels.label_id IS 'The label''s id at the upstream; opaque.';
COMMENT ON COLUMN mail.labels.name IS 'Display name as last seen; it can be renamed upstream.';
COMMENT ON COLUMN mail.labels.gone_at IS 'When the mirror learned that the label is gone upstream; null while it exists.';
COMMENT ON COLUMN mail.labels.changed_in IS 'Transaction of the last change: the row''s place in the change feed.';

CREATE TABLE mail.message_labels (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    label_id text NOT NULL,
    CONSTRAINT pk_message_labels PRIMARY KEY (account_id, message_id, label_id)
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX ix_message_labels_account_id_label_id ON mail.message_labels (account_id, label_id);

COMMENT ON TABLE mail.message_labels IS 'Labels on each message; those of tombstones stay as last known. Written by the worker only.';
COMMENT ON COLUMN mail.message_labels.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_labels.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_labels.label_id IS 'The label: mail.labels.label_id.';

CREATE TABLE mail.folders (
    account_id bigint NOT NULL,
    folder_id text NOT NULL,
    name text,
    gone_at timestamptz,
    changed_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_folders PRIMARY KEY (account_id, folder_id)
);

COMMENT ON TABLE mail.folders IS 'Folders seen on messages of an account, with their names. Written by the worker only.';
COMMENT ON COLUMN mail.folders.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.folders.folder_id IS 'The folder''s id at the upstream; opaque.';
COMMENT ON COLUMN mail.folders.name IS 'Display name as last seen; it can be renamed upstream.';
COMMENT ON COLUMN mail.folders.gone_at IS 'When the mirror learned that the folder is gone upstream; null while it exists.';
COMMENT ON COLUMN mail.folders.changed_in IS 'Transaction of the last change: the row''s place in the change feed.';

CREATE TABLE mail.attachments (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    position integer NOT NULL,
    file_id text,
    name text,
    mime_type text,
    size bigint,
    href text,
    CONSTRAINT pk_attachments PRIMARY KEY (account_id, message_id, position)
);

COMMENT ON TABLE mail.attachments IS 'Attachments of each message; those of tombstones stay as last known. Written by the worker only.';
COMMENT ON COLUMN mail.attachments.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.attachments.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.attachments.position IS 'Place among the message''s attachments, from 0.';
COMMENT ON COLUMN mail.attachments.file_id IS 'The file''s id at the upstream, as last seen; the upstream may change it at any time.';
COMMENT ON COLUMN mail.attachments.name IS 'File name as the sender wrote it; never use it as a path.';
COMMENT ON COLUMN mail.attachments.mime_type IS 'MIME type as the upstream gives it.';
COMMENT ON COLUMN mail.attachments.size IS 'Bytes; null where the upstream does not say.';
COMMENT ON COLUMN mail.attachments.href IS 'The upstream''s link, as last seen; inert text that mailmirror never follows.';

-- lz4 halves the server's work on bodies. A server built without it says feature_not_supported, and keeps pglz.
DO $$
BEGIN
    ALTER TABLE mail.messages
        ALTER COLUMN body SET COMPRESSION lz4,
        ALTER COLUMN text_body SET COMPRESSION lz4,
        ALTER COLUMN raw SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
