-- Schema analytics: views for people. Executed by 0004_analytics.py; never edited after its release.
-- This part: the contract, whose addresses an account has, how fresh its mirror is.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS 'Answers to the usual questions about mirrored mail, as views; names and meanings of the columns are a contract (analytics.contract). Deleted mail is left out.';

CREATE VIEW analytics.contract WITH (security_invoker = true) AS
SELECT 1 AS version;

COMMENT ON VIEW analytics.contract IS 'Version of the contract that the views and functions of this schema keep. It grows when a column is taken away or comes to mean something else; new columns and views do not move it.';
COMMENT ON COLUMN analytics.contract.version IS 'The version: 1.';

-- Two views run with their owner's rights, as mail.accounts does: readers have no grant on schema sync, and only
-- harmless columns stand here. Both join mail.accounts, so that a rule of who sees which account, put there, holds here.
CREATE VIEW analytics.own_addresses AS
SELECT
    a.id AS account_id,
    CASE
        WHEN jsonb_typeof(s.settings -> 'own_addresses') = 'array' THEN ARRAY(
            SELECT DISTINCT lower(btrim(own.address))
            FROM (
                SELECT s.address UNION ALL SELECT jsonb_array_elements_text(s.settings -> 'own_addresses')
            ) AS own (address)
            WHERE btrim(own.address) <> ''
            ORDER BY 1
        )
        ELSE array_remove(ARRAY[nullif(lower(btrim(s.address)), '')], NULL)
    END AS addresses
FROM mail.accounts AS a
JOIN sync.accounts AS s ON s.id = a.id;

COMMENT ON VIEW analytics.own_addresses IS 'Addresses an account writes from: its own, and those a person listed in sync.accounts.settings as {"own_addresses": ["alias@example.com"]}. Direction, replies and correspondents go by them; an alias that is missing here makes sent mail look incoming. See analytics.possible_own_addresses.';
COMMENT ON COLUMN analytics.own_addresses.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.own_addresses.addresses IS 'The addresses in small letters, sorted; empty where none is known. A domain outside ASCII must be listed in punycode.';

CREATE VIEW analytics.freshness AS
SELECT
    a.id AS account_id,
    a.address,
    a.status,
    a.status_reason,
    CASE WHEN c.supported IS NOT FALSE THEN a.polled_at ELSE w.head_walked_at END AS as_of,
    CASE WHEN c.supported IS NOT FALSE THEN 'activity' ELSE 'walks' END AS kept_by,
    w.complete_back_to,
    coalesce(w.complete_back_to = '0001-01-01 00:00:00+00'::timestamptz AND w.windows_problem = 0, false) AS complete,
    coalesce(w.windows_open, 0) AS windows_open,
    coalesce(w.windows_problem, 0) AS windows_problem,
    coalesce(p.problems_open, 0) AS problems_open,
    coalesce(p.held_deletes, 0) AS held_deletes,
    p.oldest_problem_at
FROM mail.accounts AS a
LEFT JOIN sync.cursors AS c ON c.account_id = a.id AND c.stream = 'activity'
LEFT JOIN (
    SELECT
        account_id,
        min(after) FILTER (WHERE unbroken) AS complete_back_to,
        max(walked_at) FILTER (WHERE before IS NULL) AS head_walked_at,
        count(*) FILTER (WHERE state = 'open') AS windows_open,
        count(*) FILTER (WHERE state = 'problem') AS windows_problem
    FROM (
        SELECT
            account_id, after, before, state, walked_at,
            count(*) FILTER (WHERE breaks) OVER (PARTITION BY account_id ORDER BY after DESC) = 0 AS unbroken
        FROM (
            -- Newest first: a window breaks the chain when it is open, or does not reach up to the one above it.
            SELECT
                account_id, after, before, state, walked_at,
                state = 'open' OR before IS DISTINCT FROM
                    lag(after) OVER (PARTITION BY account_id ORDER BY after DESC) AS breaks
            FROM sync.windows
        ) AS chained
    ) AS walked
    GROUP BY account_id
) AS w ON w.account_id = a.id
LEFT JOIN (
    SELECT
        account_id,
        count(*) AS problems_open,
        count(*) FILTER (WHERE kind = 'held_delete') AS held_deletes,
        min(first_seen_at) AS oldest_problem_at
    FROM sync.problems
    WHERE state = 'open'
    GROUP BY account_id
) AS p ON p.account_id = a.id;

COMMENT ON VIEW analytics.freshness IS 'How far each account''s mirror may be relied on: as of when, back to when, and what is known to be missing. Ask it beside every figure.';
COMMENT ON COLUMN analytics.freshness.account_id IS 'The account: mail.accounts.id.';
COMMENT ON COLUMN analytics.freshness.address IS 'The mailbox''s e-mail address.';
COMMENT ON COLUMN analytics.freshness.status IS 'active, backing_off, auth_required, degraded, gone or paused.';
COMMENT ON COLUMN analytics.freshness.status_reason IS 'Why the status is not active, in one sentence.';
COMMENT ON COLUMN analytics.freshness.as_of IS 'The mirror shows the mailbox as it was at this time; null before the first time. Mail may take some minutes more to appear in the upstream''s lists.';
COMMENT ON COLUMN analytics.freshness.kept_by IS 'activity: as_of is when changes were last read to their end. walks: the upstream tells no changes; as_of is when the newest window was last walked, and older mail was looked at longer ago.';
COMMENT ON COLUMN analytics.freshness.complete_back_to IS 'Every window from here to the newest mail has been walked; year 1 stands for the whole mailbox, null while not even the newest has. Figures about older time are too low.';
COMMENT ON COLUMN analytics.freshness.complete IS 'Whether the whole mailbox has been walked and no window has a part that cannot be read.';
COMMENT ON COLUMN analytics.freshness.windows_open IS 'Windows of time still to be walked.';
COMMENT ON COLUMN analytics.freshness.windows_problem IS 'Windows walked but for a part that cannot be read.';
COMMENT ON COLUMN analytics.freshness.problems_open IS 'Failures that are not put right yet; each may be a message that is missing or stale.';
COMMENT ON COLUMN analytics.freshness.held_deletes IS 'Those of them that are deletions waiting for a person: mail that still counts here and is probably gone.';
COMMENT ON COLUMN analytics.freshness.oldest_problem_at IS 'When the oldest of them first failed; null without any.';
