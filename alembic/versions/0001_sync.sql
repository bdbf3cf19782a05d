-- Schema sync: the machinery. Executed by 0001_first.py; never edited after its release.

CREATE SCHEMA IF NOT EXISTS sync; -- env.py made it already for alembic_version
CREATE SCHEMA mail;
COMMENT ON SCHEMA sync IS 'The machinery of mailmirror: accounts, positions, failures. People query schema mail.';
COMMENT ON SCHEMA mail IS 'The mirrored mail. Tables, views and their comments are the public interface of mailmirror.';

-- A plain SQL function, so that it is inlined and costs what now() costs. A setting or a table to hold an offset
-- would cost up to 5 microseconds a row, and a setting could be set by accident. Tests put another
-- body in its place; only the owner of the schema can.
CREATE FUNCTION sync.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE RETURN pg_catalog.now();
COMMENT ON FUNCTION sync.now() IS 'The time mailmirror goes by, constant within a transaction: the server''s clock. Tests replace this function to shift it.';

CREATE TABLE sync.accounts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id text DEFAULT 'default' NOT NULL,
    kind text NOT NULL,
    service text,
    upstream_id text NOT NULL,
    address text,
    status text DEFAULT 'active' NOT NULL,
    status_reason text,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamptz DEFAULT sync.now() NOT NULL,
    polled_at timestamptz,
    changed_in xid8 DEFAULT pg_current_xact_id() NOT NULL,
    next_due_at timestamptz DEFAULT sync.now() NOT NULL,
    backfill_due_at timestamptz DEFAULT sync.now(),
    queued_until timestamptz,
    backfill_queued_until timestamptz,
    poll_seconds double precision,
    lease_owner text,
    lease_until timestamptz,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_tenant_id_kind_upstream_id UNIQUE (tenant_id, kind, upstream_id),
    CONSTRAINT ck_accounts_status CHECK (status in ('active', 'backing_off', 'auth_required', 'degraded', 'gone', 'paused'))
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX ix_accounts_backfill_due_at ON sync.accounts (backfill_due_at) WHERE status in ('active', 'backing_off', 'degraded');
CREATE INDEX ix_accounts_next_due_at ON sync.accounts (next_due_at) WHERE status in ('active', 'backing_off', 'degraded');

COMMENT ON TABLE sync.accounts IS 'Accounts: what to mirror, when, and under whose lease. Written by the worker, by dispatch and by mailmirror accounts. People read mail.accounts.';
COMMENT ON COLUMN sync.accounts.id IS 'mailmirror''s own number of the account.';
COMMENT ON COLUMN sync.accounts.tenant_id IS 'Whose account it is; tenants take turns when accounts are due.';
COMMENT ON COLUMN sync.accounts.kind IS 'Kind of source, a module of worker.sources, such as kloudless.';
COMMENT ON COLUMN sync.accounts.service IS 'Mail service behind the source, such as gmail.';
COMMENT ON COLUMN sync.accounts.upstream_id IS 'The account''s id at the upstream.';
COMMENT ON COLUMN sync.accounts.address IS 'The mailbox''s e-mail address.';
COMMENT ON COLUMN sync.accounts.status IS 'active; backing_off (fails for now); auth_required (needs a new token); degraded (works without change events or with open problems); gone (unknown upstream); paused (by a person).';
COMMENT ON COLUMN sync.accounts.status_reason IS 'Why the status is not active, in one sentence.';
COMMENT ON COLUMN sync.accounts.settings IS 'Settings that differ for this account; never a credential.';
COMMENT ON COLUMN sync.accounts.created_at IS 'When the account was added.';
COMMENT ON COLUMN sync.accounts.polled_at IS 'When changes were last read to their end; moves at every poll and does not move changed_in.';
COMMENT ON COLUMN sync.accounts.changed_in IS 'Transaction of the last change to what mail.accounts shows, polled_at apart: the row''s place in the change feed.';
COMMENT ON COLUMN sync.accounts.next_due_at IS 'When the account is polled next for changes.';
COMMENT ON COLUMN sync.accounts.backfill_due_at IS 'When its history is worked on next; null when there is nothing to do.';
COMMENT ON COLUMN sync.accounts.queued_until IS 'Not dispatched for changes before this time: a task for it is on its way. Written by dispatch.';
COMMENT ON COLUMN sync.accounts.backfill_queued_until IS 'As queued_until, for the work on its history.';
COMMENT ON COLUMN sync.accounts.poll_seconds IS 'Seconds between its polls as they are now: few while it changes, more while it is quiet.';
COMMENT ON COLUMN sync.accounts.lease_owner IS 'The worker that holds the account, for people to read.';
COMMENT ON COLUMN sync.accounts.lease_until IS 'When the lease ends unless it is renewed; null when nobody holds the account.';
COMMENT ON COLUMN sync.accounts.lease_epoch IS 'Grows by one with every lease: the fence. A commit of an older lease changes nothing.';
COMMENT ON COLUMN sync.accounts.failures IS 'Runs since the last one that ended cleanly; counted when the lease is taken.';

CREATE TABLE sync.credentials (
    account_id bigint NOT NULL,
    purpose text DEFAULT 'token' NOT NULL,
    key_id text NOT NULL,
    nonce bytea NOT NULL,
    ciphertext bytea NOT NULL,
    changed_at timestamptz DEFAULT sync.now() NOT NULL,
    CONSTRAINT pk_credentials PRIMARY KEY (account_id, purpose),
    CONSTRAINT fk_credentials_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.credentials IS 'Sealed credentials. Grant this table to the worker''s role alone.';
COMMENT ON COLUMN sync.credentials.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.credentials.purpose IS 'What it is for: token is the bearer token.';
COMMENT ON COLUMN sync.credentials.key_id IS 'Name of the key of the key ring that sealed it.';
COMMENT ON COLUMN sync.credentials.nonce IS 'Nonce of AES-256-GCM, 12 bytes, new at every writing.';
COMMENT ON COLUMN sync.credentials.ciphertext IS 'The secret under AES-256-GCM; account, purpose and key name are bound to it, so a copy in another row cannot be opened.';
COMMENT ON COLUMN sync.credentials.changed_at IS 'When it was last written.';

CREATE TABLE sync.cursors (
    account_id bigint NOT NULL,
    stream text NOT NULL,
    cursor text,
    supported boolean DEFAULT true NOT NULL,
    read_at timestamptz,
    moved_at timestamptz DEFAULT sync.now() NOT NULL,
    CONSTRAINT pk_cursors PRIMARY KEY (account_id, stream),
    CONSTRAINT fk_cursors_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
)
WITH (fillfactor = 50);

COMMENT ON TABLE sync.cursors IS 'Positions of streams. Written by the worker, in the same commit as what was read.';
COMMENT ON COLUMN sync.cursors.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.cursors.stream IS 'The stream: activity.';
COMMENT ON COLUMN sync.cursors.cursor IS 'The upstream''s opaque position; null before the first one or where there is no such stream.';
COMMENT ON COLUMN sync.cursors.supported IS 'False where the upstream has no such stream for this account.';
COMMENT ON COLUMN sync.cursors.read_at IS 'When the stream was last read to its end or found unsupported.';
COMMENT ON COLUMN sync.cursors.moved_at IS 'When the cursor last moved.';

CREATE TABLE sync.windows (
    account_id bigint NOT NULL,
    after timestamptz NOT NULL,
    before timestamptz,
    state text DEFAULT 'open' NOT NULL,
    page text,
    pages integer DEFAULT 0 NOT NULL,
    seen integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    page_size integer,
    walk_before timestamptz,
    walk_began_at timestamptz,
    reached timestamptz,
    looked_ahead_at timestamptz,
    walked_at timestamptz,
    next_walk_at timestamptz,
    disturbed boolean DEFAULT false NOT NULL,
    CONSTRAINT pk_windows PRIMARY KEY (account_id, after),
    CONSTRAINT ck_windows_bounds CHECK (before > after),
    CONSTRAINT ck_windows_state CHECK (state in ('open', 'done', 'problem')),
    CONSTRAINT ex_windows_overlap EXCLUDE USING gist (int8range(account_id, account_id, '[]') WITH &&, tstzrange(after, before) WITH &&) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fk_windows_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
)
WITH (fillfactor = 70);

CREATE INDEX ix_windows_account_id_next_walk_at ON sync.windows (account_id, next_walk_at);
CREATE INDEX ix_windows_open ON sync.windows (account_id) WHERE state = 'open';

COMMENT ON TABLE sync.windows IS 'The ledger: windows of time that tile an account''s history from the year 1 on. Written by the worker, in the same commit as the messages of the page.';
COMMENT ON COLUMN sync.windows.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.windows.after IS 'First second of the window; messages with after <= created < before belong to it.';
COMMENT ON COLUMN sync.windows.before IS 'First second behind the window; null marks the head, the newest window.';
COMMENT ON COLUMN sync.windows.state IS 'open (still to be walked), done, or problem (walked, but a part of it cannot be read).';
COMMENT ON COLUMN sync.windows.page IS 'Where a first walk goes on: the upstream''s page token; null at its beginning.';
COMMENT ON COLUMN sync.windows.pages IS 'Pages read by the walk in progress, or by the last finished one.';
COMMENT ON COLUMN sync.windows.seen IS 'Messages read by the walk in progress, or by the last finished one.';
COMMENT ON COLUMN sync.windows.attempts IS 'Failures of the walk in progress.';
COMMENT ON COLUMN sync.windows.page_size IS 'Messages per page while a page cannot be read at the usual size; null means the usual size.';
COMMENT ON COLUMN sync.windows.walk_before IS 'Upper bound that is sent upstream, the same for the whole walk in progress.';
COMMENT ON COLUMN sync.windows.walk_began_at IS 'When the walk in progress began, by the upstream''s clock.';
COMMENT ON COLUMN sync.windows.reached IS 'Oldest created read so far by the walk in progress, while the listing comes newest first.';
COMMENT ON COLUMN sync.windows.looked_ahead_at IS 'Head only: when it was last walked as far into the future as the upstream accepts.';
COMMENT ON COLUMN sync.windows.walked_at IS 'When the last complete walk ended.';
COMMENT ON COLUMN sync.windows.next_walk_at IS 'When a done window is walked again; null while it is open.';
COMMENT ON COLUMN sync.windows.disturbed IS 'A message of it was deleted while it was walked, so the listing may have skipped another.';

CREATE TABLE sync.runs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    epoch bigint NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL,
    error_kind text,
    error text,
    requests integer DEFAULT 0 NOT NULL,
    added integer DEFAULT 0 NOT NULL,
    updated integer DEFAULT 0 NOT NULL,
    unchanged integer DEFAULT 0 NOT NULL,
    tombstoned integer DEFAULT 0 NOT NULL,
    revived integer DEFAULT 0 NOT NULL,
    windows_walked integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT ck_runs_outcome CHECK (outcome in ('done', 'partial', 'failed')),
    CONSTRAINT fk_runs_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
);

CREATE INDEX ix_runs_account_id_began_at ON sync.runs (account_id, began_at);
CREATE INDEX ix_runs_began_at ON sync.runs (began_at);

COMMENT ON TABLE sync.runs IS 'Runs that changed, failed or walked something; idle polls leave none. Written by the worker, pruned by age.';
COMMENT ON COLUMN sync.runs.id IS 'Number of the run.';
COMMENT ON COLUMN sync.runs.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.runs.epoch IS 'lease_epoch the run worked under.';
COMMENT ON COLUMN sync.runs.began_at IS 'When the lease was taken.';
COMMENT ON COLUMN sync.runs.ended_at IS 'When the run ended.';
COMMENT ON COLUMN sync.runs.outcome IS 'done (nothing left to do), partial (out of time or budget) or failed.';
COMMENT ON COLUMN sync.runs.error_kind IS 'Class of the error that ended a failed run.';
COMMENT ON COLUMN sync.runs.error IS 'The error in one sentence; never a credential or mail.';
COMMENT ON COLUMN sync.runs.requests IS 'Requests sent upstream.';
COMMENT ON COLUMN sync.runs.added IS 'Messages that were new.';
COMMENT ON COLUMN sync.runs.updated IS 'Messages that had changed.';
COMMENT ON COLUMN sync.runs.unchanged IS 'Messages seen and found equal.';
COMMENT ON COLUMN sync.runs.tombstoned IS 'Messages found gone.';
COMMENT ON COLUMN sync.runs.revived IS 'Tombstones that came back to life.';
COMMENT ON COLUMN sync.runs.windows_walked IS 'Windows walked to their end.';

CREATE TABLE sync.problems (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    cause text NOT NULL,
    bytes bytea,
    attempts integer DEFAULT 1 NOT NULL,
    first_seen_at timestamptz DEFAULT sync.now() NOT NULL,
    last_seen_at timestamptz DEFAULT sync.now() NOT NULL,
    not_before timestamptz,
    window_after timestamptz,
    window_before timestamptz,
    state text DEFAULT 'open' NOT NULL,
    closed_at timestamptz,
    CONSTRAINT pk_problems PRIMARY KEY (id),
    CONSTRAINT uq_problems_account_id_kind_subject UNIQUE (account_id, kind, subject),
    CONSTRAINT ck_problems_kind CHECK (kind in ('pending', 'message', 'event', 'page', 'held_delete', 'account')),
    CONSTRAINT ck_problems_state CHECK (state in ('open', 'closed')),
    CONSTRAINT ck_problems_closed_at CHECK ((state = 'closed') = (closed_at is not null)),
    CONSTRAINT ck_problems_bytes CHECK (octet_length(bytes) <= 65536),
    CONSTRAINT fk_problems_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
);

CREATE INDEX ix_problems_closed_at ON sync.problems (closed_at) WHERE state = 'closed';
CREATE INDEX ix_problems_open ON sync.problems (account_id, not_before) WHERE state = 'open';

COMMENT ON TABLE sync.problems IS 'Failures that a cursor was allowed to pass: each is a row, is tried again, and closes itself. Written by the worker; closed ones are pruned by age.';
COMMENT ON COLUMN sync.problems.id IS 'Number of the problem.';
COMMENT ON COLUMN sync.problems.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.problems.kind IS 'pending (a message to be asked for again), message (one that cannot be read), event (an event without a usable id), page (a page that cannot be read), held_delete (a deletion that waits for a person) or account.';
COMMENT ON COLUMN sync.problems.subject IS 'What it is about: a message id, sha256:… of an event, or a window''s bounds; at most 1 kB.';
COMMENT ON COLUMN sync.problems.cause IS 'Why, in one sentence; never a credential.';
COMMENT ON COLUMN sync.problems.bytes IS 'What the upstream sent, at most 64 kB of it; may hold mail.';
COMMENT ON COLUMN sync.problems.attempts IS 'How often it has failed.';
COMMENT ON COLUMN sync.problems.first_seen_at IS 'When it first failed.';
COMMENT ON COLUMN sync.problems.last_seen_at IS 'When it last failed.';
COMMENT ON COLUMN sync.problems.not_before IS 'When it is tried again; null leaves it to a person or to the next walk.';
COMMENT ON COLUMN sync.problems.window_after IS 'Where it was found, when it has no id to ask for: a complete walk there puts it right.';
COMMENT ON COLUMN sync.problems.window_before IS 'End of that span, exclusive; null is open, or no span at all.';
COMMENT ON COLUMN sync.problems.state IS 'open or closed.';
COMMENT ON COLUMN sync.problems.closed_at IS 'When it was put right; null while it is open.';

CREATE TABLE sync.throttles (
    scope text NOT NULL,
    until timestamptz NOT NULL,
    reason text,
    CONSTRAINT pk_throttles PRIMARY KEY (scope)
);

COMMENT ON TABLE sync.throttles IS 'Waits the upstream asked for, shared by all workers. Written by the worker.';
COMMENT ON COLUMN sync.throttles.scope IS 'What must wait: an application or one account.';
COMMENT ON COLUMN sync.throttles.until IS 'No request before this time.';
COMMENT ON COLUMN sync.throttles.reason IS 'Why, in one sentence.';

CREATE TABLE sync.audits (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    checked bigint DEFAULT 0 NOT NULL,
    missing bigint DEFAULT 0 NOT NULL,
    stale bigint DEFAULT 0 NOT NULL,
    extra bigint DEFAULT 0 NOT NULL,
    not_checked bigint DEFAULT 0 NOT NULL,
    equal boolean NOT NULL,
    report jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_audits PRIMARY KEY (id),
    CONSTRAINT fk_audits_account_id FOREIGN KEY(account_id) REFERENCES sync.accounts (id) ON DELETE CASCADE
);

CREATE INDEX ix_audits_account_id_began_at ON sync.audits (account_id, began_at);

COMMENT ON TABLE sync.audits IS 'Results of mailmirror verify, which writes them; pruned by age.';
COMMENT ON COLUMN sync.audits.id IS 'Number of the audit.';
COMMENT ON COLUMN sync.audits.account_id IS 'The account: sync.accounts.id.';
COMMENT ON COLUMN sync.audits.began_at IS 'When the comparison began.';
COMMENT ON COLUMN sync.audits.ended_at IS 'When it ended; null if it was cut short.';
COMMENT ON COLUMN sync.audits.checked IS 'Messages compared field by field.';
COMMENT ON COLUMN sync.audits.missing IS 'Messages the mirror lacks.';
COMMENT ON COLUMN sync.audits.stale IS 'Messages the mirror holds otherwise.';
COMMENT ON COLUMN sync.audits.extra IS 'Live messages of the mirror that the mailbox no longer has.';
COMMENT ON COLUMN sync.audits.not_checked IS 'Messages that could not be compared; the report says why.';
COMMENT ON COLUMN sync.audits.equal IS 'Whether the mirror equals the mailbox.';
COMMENT ON COLUMN sync.audits.report IS 'The differences by id and field, as far as they fit.';

COMMENT ON TABLE sync.alembic_version IS 'Version of the tables. Written by mailmirror migrate.';
COMMENT ON COLUMN sync.alembic_version.version_num IS 'Newest revision that was applied.';
