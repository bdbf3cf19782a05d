-- Where labels and folders were before. Executed by 0003_history.py; never edited after its release.
--
-- What holds now stands where it stood: in message_labels and in messages.folder_id, each with the time since which it
-- holds, null for "since the message was first seen". So a first backfill writes nothing more than it did; only what
-- ends is written here. The two views put both together.

ALTER TABLE mail.message_labels ADD COLUMN since timestamptz;
ALTER TABLE mail.messages ADD COLUMN folder_since timestamptz;

COMMENT ON COLUMN mail.message_labels.since IS 'When the mirror saw the label put on; null: it was there when the message was first seen.';
COMMENT ON COLUMN mail.messages.folder_since IS 'When the mirror saw the message come into this folder; null: it lay there when it was first seen.';

CREATE TABLE mail.message_labels_past (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    label_id text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_message_labels_past PRIMARY KEY (account_id, message_id, label_id, since)
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX ix_message_labels_past_account_id_label_id ON mail.message_labels_past (account_id, label_id);

COMMENT ON TABLE mail.message_labels_past IS 'Labels that were on messages and are not any more, and what was on a message before it was deleted and came back. Query mail.message_label_history, which has what holds now, too. Written by the worker only.';
COMMENT ON COLUMN mail.message_labels_past.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_labels_past.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_labels_past.label_id IS 'The label: mail.labels.label_id.';
COMMENT ON COLUMN mail.message_labels_past.since IS 'When the mirror first saw the label on the message.';
COMMENT ON COLUMN mail.message_labels_past.until IS 'When the mirror saw that it was off, or that the message was gone.';

CREATE TABLE mail.message_folders_past (
    account_id bigint NOT NULL,
    message_id text NOT NULL,
    folder_id text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_message_folders_past PRIMARY KEY (account_id, message_id, folder_id, since)
)
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX ix_message_folders_past_account_id_folder_id ON mail.message_folders_past (account_id, folder_id);

COMMENT ON TABLE mail.message_folders_past IS 'Folders that messages lay in and do not any more, and where a message lay before it was deleted and came back. Query mail.message_folder_history, which has what holds now, too. Written by the worker only.';
COMMENT ON COLUMN mail.message_folders_past.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_folders_past.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_folders_past.folder_id IS 'The folder: mail.folders.folder_id.';
COMMENT ON COLUMN mail.message_folders_past.since IS 'When the mirror first saw the message in the folder.';
COMMENT ON COLUMN mail.message_folders_past.until IS 'When the mirror saw it elsewhere, or gone.';

CREATE VIEW mail.message_label_history WITH (security_invoker = true) AS
SELECT account_id, message_id, label_id, since AS valid_from, until AS valid_to
FROM mail.message_labels_past
UNION ALL
SELECT l.account_id, l.message_id, l.label_id, coalesce(l.since, m.first_seen_at), m.deleted_at
FROM mail.message_labels AS l
JOIN mail.messages AS m USING (account_id, message_id);

COMMENT ON VIEW mail.message_label_history IS 'Which label was on which message from when to when, as the mirror saw it: exact to the poll interval, and for mail that is older than the mirror known from the first sight on. A deletion ends a range, a return begins another.';
COMMENT ON COLUMN mail.message_label_history.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_label_history.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_label_history.label_id IS 'The label: mail.labels.label_id.';
COMMENT ON COLUMN mail.message_label_history.valid_from IS 'When the mirror first saw the label on the message.';
COMMENT ON COLUMN mail.message_label_history.valid_to IS 'When the mirror saw that it was off, or that the message was gone; null while it is on.';

CREATE VIEW mail.message_folder_history WITH (security_invoker = true) AS
SELECT account_id, message_id, folder_id, since AS valid_from, until AS valid_to
FROM mail.message_folders_past
UNION ALL
SELECT account_id, message_id, folder_id, coalesce(folder_since, first_seen_at), deleted_at
FROM mail.messages
WHERE folder_id IS NOT NULL;

COMMENT ON VIEW mail.message_folder_history IS 'Which message lay in which folder from when to when, as the mirror saw it: exact to the poll interval, and for mail that is older than the mirror known from the first sight on. A deletion ends a range, a return begins another.';
COMMENT ON COLUMN mail.message_folder_history.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN mail.message_folder_history.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN mail.message_folder_history.folder_id IS 'The folder: mail.folders.folder_id.';
COMMENT ON COLUMN mail.message_folder_history.valid_from IS 'When the mirror first saw the message in the folder.';
COMMENT ON COLUMN mail.message_folder_history.valid_to IS 'When the mirror saw it elsewhere, or gone; null while it lies there.';
