-- Part of schema analytics: the messages, and what is told from their addresses, subjects, labels and folders.

-- Functions with a body of one expression, which the planner puts in the place of the call.
CREATE FUNCTION analytics.mail_sign(address text, subject text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN address ~ '^(mailer-daemon|postmaster|bounces?|bounce[-+._].*)@' THEN 'bounce'
    WHEN address ~ '^(.*[-+._])?(no|not|dont|do[-_.]?not)[-_.]?reply([-+._].*)?@' THEN 'no-reply'
    WHEN address ~ '^(news|newsletters?|marketing|promo(tion)?s?|offers?|deals|campaigns?|mailing)([-+._].*)?@' THEN 'newsletter'
    WHEN address ~ '^(notify|notifications?|alerts?|auto(mated|matic|mailer|-confirm)?|cron|daemon|robot|reminders?|root)([-+._].*)?@' THEN 'notice'
    WHEN subject ~* '^\s*(auto(matic|mated)?[- ]?(reply|response|antwort)|automatische antwort|abwesenheitsnotiz|out of (the )?office|r.ponse automatique|respuesta autom.tica)' THEN 'auto-reply'
    WHEN subject ~* '^\s*(undeliver(ed|able)|mail delivery (failed|failure)|delivery status notification|returned mail)' THEN 'bounce'
END;

COMMENT ON FUNCTION analytics.mail_sign(text, text) IS 'By which sign the sender''s address or the subject shows that a machine wrote: bounce, no-reply, newsletter, notice or auto-reply; null without any. English, German, French and Spanish subjects.';

CREATE FUNCTION analytics.mail_kind(sign text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN sign IS NULL THEN 'person'
    WHEN sign IN ('newsletter', 'promotions') THEN 'bulk'
    WHEN sign = 'forums' THEN 'list'
    ELSE 'automatic'
END;

COMMENT ON FUNCTION analytics.mail_kind(text) IS 'The kind of mail a sign stands for: person (no sign at all), automatic, bulk or list.';

CREATE FUNCTION analytics.folder_set_aside(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN lower(name) IN ('draft', 'drafts') THEN 'draft'
    WHEN lower(name) IN ('spam', 'junk', 'junk email', 'junk e-mail', 'bulk mail') THEN 'spam'
    WHEN lower(name) IN ('trash', 'bin', 'deleted items', 'deleted messages') THEN 'trash'
END;

COMMENT ON FUNCTION analytics.folder_set_aside(text) IS 'draft, spam or trash for a folder of such an English name; null for any other.';

CREATE FUNCTION analytics.topic(subject text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(btrim(regexp_replace(subject, '^(\s*(re|fwd?|aw|wg|antw|sv|vs|tr|rv|r|i)(\[\d+\])?\s*:)+', '', 'i')));

COMMENT ON FUNCTION analytics.topic(text) IS 'The subject in small letters without "Re:", "Fwd:" and their like in other languages.';

CREATE VIEW analytics.messages WITH (security_invoker = true) AS
SELECT
    m.account_id,
    m.message_id,
    m.thread_id,
    m.created,
    m.subject,
    f.address AS sender,
    f.name AS sender_name,
    told.direction,
    (
        SELECT count(*)
        FROM mail.message_people AS r
        WHERE r.account_id = m.account_id AND r.message_id = m.message_id AND r.role <> 'from'
    ) AS recipients,
    (
        SELECT max(r.role)
        FROM mail.message_people AS r
        WHERE r.account_id = m.account_id AND r.message_id = m.message_id AND r.role <> 'from'
            AND r.address = ANY (o.addresses)
    ) AS addressed_as,
    analytics.mail_kind(machine.sign) AS kind,
    machine.sign AS kind_sign,
    CASE
        WHEN machine.sign IN ('bounce', 'no-reply') THEN 'high'
        WHEN machine.sign IS NULL OR machine.sign IN ('updates', 'social') THEN 'low'
        ELSE 'medium'
    END AS kind_confidence,
    d.name AS folder,
    coalesce(
        analytics.folder_set_aside(d.name),
        (
            SELECT min(lower(n.name))
            FROM mail.message_labels AS l
            JOIN mail.labels AS n USING (account_id, label_id)
            WHERE l.account_id = m.account_id AND l.message_id = m.message_id
                AND n.name IN ('DRAFT', 'SPAM', 'TRASH')
        )
    ) AS set_aside,
    m.has_attachments
FROM mail.messages AS m
LEFT JOIN mail.message_people AS f
    ON f.account_id = m.account_id AND f.message_id = m.message_id AND f.role = 'from' AND f.position = 0
LEFT JOIN analytics.own_addresses AS o ON o.account_id = m.account_id
LEFT JOIN mail.folders AS d ON d.account_id = m.account_id AND d.folder_id = m.folder_id
-- OFFSET 0 keeps the planner from writing these two out wherever they are used: each is worked out once for a message,
-- and only when it is asked for.
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN f.address = ANY (o.addresses) THEN
                CASE WHEN (
                    SELECT bool_and(coalesce(r.address = ANY (o.addresses), false))
                    FROM mail.message_people AS r
                    WHERE r.account_id = m.account_id AND r.message_id = m.message_id AND r.role <> 'from'
                ) THEN 'internal' ELSE 'outgoing' END
            WHEN f.address IS NULL OR coalesce(cardinality(o.addresses), 0) = 0 THEN 'unknown'
            ELSE 'incoming'
        END AS direction
    OFFSET 0
) AS told
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            analytics.mail_sign(f.address, m.subject),
            (
                SELECT min(lower(substr(n.name, 10)))
                FROM mail.message_labels AS l
                JOIN mail.labels AS n USING (account_id, label_id)
                WHERE l.account_id = m.account_id AND l.message_id = m.message_id
                    AND n.name IN ('CATEGORY_PROMOTIONS', 'CATEGORY_FORUMS', 'CATEGORY_UPDATES', 'CATEGORY_SOCIAL')
            )
        ) AS sign
    OFFSET 0
) AS machine
WHERE m.deleted_at IS NULL;

COMMENT ON VIEW analytics.messages IS 'Live messages, one row each, with who wrote, in which direction, and what kind of mail it is. Drafts, spam and trash are here, too (set_aside).';
COMMENT ON COLUMN analytics.messages.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.messages.message_id IS 'The message: mail.messages.message_id. Mail that two accounts hold is two messages.';
COMMENT ON COLUMN analytics.messages.thread_id IS 'Conversation it belongs to, as the upstream groups them; null where it does not.';
COMMENT ON COLUMN analytics.messages.created IS 'When the mailbox got the message, whole seconds; null when the upstream''s value was no valid time.';
COMMENT ON COLUMN analytics.messages.subject IS 'Subject line.';
COMMENT ON COLUMN analytics.messages.sender IS 'Normalised address of the (first) sender; null where none is written.';
COMMENT ON COLUMN analytics.messages.sender_name IS 'Display name of the sender as written on this message.';
COMMENT ON COLUMN analytics.messages.direction IS 'By analytics.own_addresses: outgoing (from an own address), internal (from an own address to own addresses alone), incoming (from any other), unknown (no sender, or no own address known). A forged sender is believed.';
COMMENT ON COLUMN analytics.messages.recipients IS 'Entries in to, cc and bcc; received mail seldom shows its bcc.';
COMMENT ON COLUMN analytics.messages.addressed_as IS 'Where an own address stands among the recipients: to, else cc, else bcc; null where none does, as on mail through a list or by bcc.';
COMMENT ON COLUMN analytics.messages.kind IS 'person, automatic (machines: notices, bounces, auto-replies), bulk (newsletters, promotions) or list (forums). Headers are not mirrored, so this is told by the sender''s local part, the subject, and Gmail''s categories; person means that none of these signs is there.';
COMMENT ON COLUMN analytics.messages.kind_sign IS 'What told the kind: bounce, no-reply, newsletter, notice (sender), auto-reply, bounce (subject), promotions, forums, updates, social (Gmail''s category); null for person.';
COMMENT ON COLUMN analytics.messages.kind_confidence IS 'high (bounce, no-reply), medium (other words in sender or subject, promotions, forums) or low (updates, social, and person, which only says that no sign was found).';
COMMENT ON COLUMN analytics.messages.folder IS 'Name of the folder it lies in; null where the mail service has labels instead.';
COMMENT ON COLUMN analytics.messages.set_aside IS 'draft, spam or trash, by the label of that name in Gmail or an English folder name; null for ordinary mail. Unknown (null) for IMAP accounts, which show neither.';
COMMENT ON COLUMN analytics.messages.has_attachments IS 'Whether it has attachments.';

CREATE VIEW analytics.counted_messages WITH (security_invoker = true) AS
SELECT
    m.account_id, m.message_id, m.thread_id, m.created, m.subject, m.sender, m.sender_name, m.direction, m.recipients,
    m.addressed_as, m.kind, m.kind_sign, m.kind_confidence, m.folder, m.has_attachments
FROM analytics.messages AS m
WHERE m.created IS NOT NULL
    -- With IS NULL the planner would expect hardly any row to be left.
    AND coalesce(analytics.folder_set_aside(m.folder), '') NOT IN ('draft', 'spam', 'trash')
    AND NOT EXISTS (
        SELECT
        FROM mail.message_labels AS l
        JOIN mail.labels AS n USING (account_id, label_id)
        WHERE l.account_id = m.account_id AND l.message_id = m.message_id AND n.name IN ('DRAFT', 'SPAM', 'TRASH')
    );

COMMENT ON VIEW analytics.counted_messages IS 'What threads, replies, volumes and correspondents are made of: analytics.messages without drafts, spam and trash, and without mail that has no valid time.';

DO $$
DECLARE
    col record;
BEGIN
    FOR col IN
        SELECT a.attname, col_description('analytics.messages'::regclass, b.attnum) AS words
        FROM pg_attribute AS a
        JOIN pg_attribute AS b ON b.attrelid = 'analytics.messages'::regclass AND b.attname = a.attname
        WHERE a.attrelid = 'analytics.counted_messages'::regclass AND a.attnum > 0
    LOOP
        EXECUTE format('COMMENT ON COLUMN analytics.counted_messages.%I IS %L', col.attname, col.words);
    END LOOP;
END
$$;
COMMENT ON COLUMN analytics.counted_messages.created IS 'When the mailbox got the message, whole seconds; never null here.';

CREATE VIEW analytics.possible_own_addresses WITH (security_invoker = true) AS
SELECT m.account_id, m.sender AS address, count(*) AS messages, min(m.created) AS first_at, max(m.created) AS last_at
FROM analytics.messages AS m
JOIN (
    SELECT l.account_id, l.message_id
    FROM mail.message_labels AS l
    JOIN mail.labels AS n USING (account_id, label_id)
    WHERE n.name = 'SENT'
    UNION
    SELECT s.account_id, s.message_id
    FROM mail.messages AS s
    JOIN mail.folders AS d USING (account_id, folder_id)
    WHERE lower(d.name) IN ('sent', 'sent items', 'sent mail', 'sent messages')
) AS sent USING (account_id, message_id)
WHERE m.direction IN ('incoming', 'unknown') AND m.sender IS NOT NULL
GROUP BY m.account_id, m.sender;

COMMENT ON VIEW analytics.possible_own_addresses IS 'Senders of mail that lies among the sent mail and whose address is not known as an own one: probably aliases to add to own_addresses.';
COMMENT ON COLUMN analytics.possible_own_addresses.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.possible_own_addresses.address IS 'The sender''s normalised address.';
COMMENT ON COLUMN analytics.possible_own_addresses.messages IS 'Live messages from it with Gmail''s label SENT or in a folder of an English name for sent mail.';
COMMENT ON COLUMN analytics.possible_own_addresses.first_at IS 'created of the oldest of them.';
COMMENT ON COLUMN analytics.possible_own_addresses.last_at IS 'created of the newest of them.';

CREATE VIEW analytics.attachments WITH (security_invoker = true) AS
SELECT
    a.account_id, a.message_id, a.position, m.created, m.sender, m.direction, a.name,
    nullif(lower(btrim(split_part(a.mime_type, ';', 1))), '') AS type,
    CASE
        WHEN a.mime_type IS NULL OR a.mime_type = '' THEN 'unknown'
        WHEN a.mime_type ~* '^(image|audio|video)/' THEN lower(split_part(a.mime_type, '/', 1))
        WHEN a.mime_type ~* '^text/calendar' THEN 'calendar'
        WHEN a.mime_type ~* '^text/' THEN 'text'
        WHEN a.mime_type ~* '^message/' THEN 'mail'
        WHEN a.mime_type ~* 'pdf$|msword|word|opendocument\.text|rtf' THEN 'document'
        WHEN a.mime_type ~* 'excel|spreadsheet' THEN 'spreadsheet'
        WHEN a.mime_type ~* 'powerpoint|presentation' THEN 'presentation'
        WHEN a.mime_type ~* 'zip|gzip|x-tar|x-7z|x-rar|x-bzip' THEN 'archive'
        ELSE 'other'
    END AS family,
    lower(substring(a.name FROM '\.([A-Za-z0-9]{1,10})$')) AS extension,
    a.size
FROM mail.attachments AS a
JOIN analytics.messages AS m USING (account_id, message_id);

COMMENT ON VIEW analytics.attachments IS 'Attachments of live messages with their type told apart; drafts, spam and trash included.';
COMMENT ON COLUMN analytics.attachments.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.attachments.message_id IS 'The message: mail.messages.message_id.';
COMMENT ON COLUMN analytics.attachments.position IS 'Place among the message''s attachments, from 0.';
COMMENT ON COLUMN analytics.attachments.created IS 'When the mailbox got the message; null when that is not known.';
COMMENT ON COLUMN analytics.attachments.sender IS 'Normalised address of the sender.';
COMMENT ON COLUMN analytics.attachments.direction IS 'As analytics.messages.direction.';
COMMENT ON COLUMN analytics.attachments.name IS 'File name as the sender wrote it; never use it as a path.';
COMMENT ON COLUMN analytics.attachments.type IS 'MIME type in small letters without its parameters, as the upstream gives it; null where it gives none. It is not checked against the content.';
COMMENT ON COLUMN analytics.attachments.family IS 'By the MIME type: document, spreadsheet, presentation, image, audio, video, text, calendar, mail, archive, other or unknown.';
COMMENT ON COLUMN analytics.attachments.extension IS 'Last part of the file name in small letters; null where there is none.';
COMMENT ON COLUMN analytics.attachments.size IS 'Bytes; null where the upstream does not say.';
