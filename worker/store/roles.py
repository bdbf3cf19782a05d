"""The three roles of the database: owner, worker and analyst, with the rights they need and no others.

Rights are inherited by the members of a role; its attributes (BYPASSRLS) and settings (read-only, time limits) are not:
Postgres takes those of the user who logs in. So each login in a role is given them itself, whenever `apply` runs.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from worker.config import ROLES_PREFIX
from worker.errors import UsageError
from worker.store.engine import Engine, connect, driver, translated
from worker.store.migrations import require_current
from worker.store.postgres import rows

__all__ = ["Login", "RefusedLoginError", "Roles", "apply", "superuser_of"]

SCHEMAS = ("mail", "analytics", "sync")

SETTINGS = {
    "owner": {"search_path": "pg_catalog, pg_temp"},
    "worker": {"search_path": "pg_catalog, pg_temp"},
    "analyst": {
        "search_path": "pg_catalog, mail, pg_temp",
        "default_transaction_read_only": "on",
        "statement_timeout": "5min",
        # An open transaction holds back the change feed of everybody.
        "idle_in_transaction_session_timeout": "1min",
        # Where a server has it, compiling a query of schema analytics takes far longer than running it.
        "jit": "off",
    },
}
"""Guard rails, no walls: a session may change its own. What a role may touch is a matter of its rights."""

NO_BYPASS = (
    "{user} may not give BYPASSRLS to {role} on this server (many managed ones keep it to themselves). The worker runs "
    "without it as long as no table has row-level security, which COPY refuses; do not turn that on here."
)


class Roles(Struct, frozen=True):
    """The names of the three roles."""

    owner: str
    worker: str
    analyst: str

    @classmethod
    def named(cls, prefix: str = ROLES_PREFIX) -> "Roles":
        """Put the prefix before each; raises UsageError for one that would have to be quoted."""
        if not re.fullmatch("[a-z_][a-z0-9_]{0,49}", prefix) or prefix.startswith("pg_"):
            message = "The prefix must be small letters, digits and _, at most 50, and must not begin with pg_."
            raise UsageError(message)
        return cls(f"{prefix}_owner", f"{prefix}_worker", f"{prefix}_analyst")


class Login(Struct, frozen=True):
    """A user who is to log in as the worker."""

    user: str
    password: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.user!r}, ***)"


class RefusedLoginError(UsageError):
    """The user who is to log in as the worker may do more than a worker should."""


def apply(url: str, roles: Roles, login: Login | None = None) -> list[str]:
    """Make the roles where they are missing and set their rights anew, in one transaction; says what was done.

    Workers may go on meanwhile. Raises UsageError for a user who may not do it, or a database without our tables;
    StoreUnavailableError when a table is in use.
    """
    engine = connect(url, pooled=False)
    with translated(), engine.begin() as connection:
        require_current(connection)
        with driver(connection).cursor() as cursor:
            return list(_Applying(cursor, roles).run(login))


def superuser_of(engine: Engine) -> str | None:
    """The user this engine logs in as when it is a superuser; None when it is not."""
    found = rows(engine, "select session_user, rolsuper from pg_catalog.pg_roles where rolname = session_user", ())
    return str(found[0][0]) if found and found[0][1] else None


class _Applying:
    """One run of `apply`: each step yields what a person should know of it."""

    def __init__(self, cursor: psycopg.Cursor[Any], roles: Roles) -> None:
        self._cursor = cursor
        self._roles = roles
        self._user, self._database, self._super, makes_roles = self._rows(
            "SELECT rolname, current_database(), rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )[0]
        if not (self._super or makes_roles):
            message = (
                f"{self._user} may not make roles. Name a superuser, or an owner of the database with CREATEROLE, in "
                "MAILMIRROR_OWNER_URL."
            )
            raise UsageError(message)

    def run(self, login: Login | None) -> Iterator[str]:
        """Do it all, in order."""
        self._do("SET LOCAL lock_timeout = '5s'")
        self._do("SET LOCAL search_path = pg_catalog")
        for name in (self._roles.owner, self._roles.worker, self._roles.analyst):
            yield self._make(name)
        yield self._own()
        yield from self._close_database()
        self._grant()
        self._grant_later()
        yield f"{self._roles.worker}: reads and writes the rows of schemas mail and sync; changes no table."
        yield f"{self._roles.analyst}: reads schemas mail and analytics; by default read-only, 5 minutes a statement."
        if login is not None:
            yield self._let_in(login)
        yield from self._attributes()

    def _make(self, name: str) -> str:
        found = self._rows("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = %s", name)
        if not found:
            self._do("CREATE ROLE {} NOLOGIN", name)
            return f"Role {name} was made."
        if found[0][0]:
            message = f"The role {name} is there already and may do far more than it should. Use another --prefix."
            raise UsageError(message)
        return f"Role {name} is there already."

    def _own(self) -> str:
        """Let the owner own what migrations made; from then on they make it as the owner."""
        owner = self._roles.owner
        if not self._rows("SELECT pg_has_role(current_user, %s, 'USAGE')", owner)[0][0]:
            self._do("GRANT {} TO CURRENT_USER", owner)
        # First, because a schema and a table can be given only to one who may make such.
        self._try("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}", self._database, owner)
        taken = self._rows(_NOT_OWNED, {"schemas": list(SCHEMAS), "owner": owner})
        for kind, schema, name, arguments, _ in taken:
            words = sql.SQL("ALTER {} {}{} OWNER TO {}")
            target = sql.Identifier(schema, name) if name else sql.Identifier(schema)
            self._cursor.execute(words.format(sql.SQL(kind), target, sql.SQL(arguments or ""), sql.Identifier(owner)))
        done = f"{len(taken)} objects were given to it" if taken else "nothing had to be given to it"
        return f"{owner}: owns schemas mail, analytics and sync and all in them ({done}); migrations run as it."

    def _close_database(self) -> Iterator[str]:
        """Take from everybody what PostgreSQL gives to everybody."""
        self._try("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        self._try("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", self._database)
        self._try("GRANT CONNECT ON DATABASE {} TO {}, {}", self._database, self._roles.worker, self._roles.analyst)
        open_still = self._rows(
            "SELECT to_regnamespace('public') IS NOT NULL AND (has_schema_privilege('public', 'public', 'CREATE')"
            " OR has_schema_privilege('public', 'public', 'USAGE'))"
        )[0][0]
        if open_still:
            yield (
                f"Schema public is still open to everybody, because {self._user} does not own it. "
                "Let its owner run: REVOKE ALL ON SCHEMA public FROM PUBLIC"
            )
        else:
            yield "Schema public is closed to everybody but its owner."

    def _grant(self) -> None:
        """Take every right on our schemas and give back those that are meant, so that no other is left."""
        worker, analyst = self._roles.worker, self._roles.analyst
        for kind in (
            "SCHEMA mail, analytics, sync",
            *(f"ALL {each} IN SCHEMA mail, analytics, sync" for each in _KINDS),
        ):
            self._do(f"REVOKE ALL ON {kind} FROM PUBLIC, {{}}, {{}}", worker, analyst)
        self._do("GRANT USAGE ON SCHEMA mail, analytics, sync TO {}", worker)
        self._do("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mail, sync TO {}", worker)
        self._do("GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO {}, {}", worker, analyst)
        for schema, name in self._rows(_ONLY_READ, list(SCHEMAS)):
            words = sql.SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}")
            self._cursor.execute(words.format(sql.Identifier(schema, name), sql.Identifier(worker)))
        self._do("GRANT USAGE ON ALL SEQUENCES IN SCHEMA mail, sync TO {}", worker)
        self._do("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA mail, sync TO {}", worker)
        self._do("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA analytics TO {}, {}", worker, analyst)
        self._do("GRANT USAGE ON SCHEMA mail, analytics TO {}", analyst)
        self._do("GRANT SELECT ON ALL TABLES IN SCHEMA mail TO {}", analyst)
        # What reads runs with the reader's rights; a consumer of the feed is moved by the user who began it alone.
        self._do("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA mail TO {}", analyst)

    def _grant_later(self) -> None:
        """The same for what later migrations make, until `apply` runs again."""
        owner, worker, analyst = self._roles.owner, self._roles.worker, self._roles.analyst
        begin = "ALTER DEFAULT PRIVILEGES FOR ROLE {} "
        # PostgreSQL gives this one to everybody, and takes it back for all schemas only.
        self._do(begin + "REVOKE EXECUTE ON ROUTINES FROM PUBLIC", owner)
        inside = begin + "IN SCHEMA mail, sync "
        self._do(inside + "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}", owner, worker)
        self._do(inside + "GRANT USAGE ON SEQUENCES TO {}", owner, worker)
        self._do(inside + "GRANT EXECUTE ON ROUTINES TO {}", owner, worker)
        self._do(begin + "IN SCHEMA mail GRANT SELECT ON TABLES TO {}", owner, analyst)
        self._do(begin + "IN SCHEMA mail GRANT EXECUTE ON ROUTINES TO {}", owner, analyst)
        self._do(begin + "IN SCHEMA analytics GRANT SELECT ON TABLES TO {}, {}", owner, worker, analyst)
        self._do(begin + "IN SCHEMA analytics GRANT EXECUTE ON ROUTINES TO {}, {}", owner, worker, analyst)

    def _let_in(self, login: Login) -> str:
        """Make the user, or set its password anew, and make it a member; the password never travels in the clear."""
        found = self._rows("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = %s", login.user)
        if login.user in {self._user, self._roles.owner, self._roles.analyst} or (found and found[0][0]):
            message = (
                f"{login.user}, the user in DATABASE_URL, cannot be the worker's: it may do too much. Name another one "
                "there, and the owner in MAILMIRROR_OWNER_URL."
            )
            raise RefusedLoginError(message)
        user = sql.Identifier(login.user)
        words = sql.SQL("ALTER ROLE {} LOGIN" if found else "CREATE ROLE {} LOGIN").format(user)
        if login.password is not None:
            sealed = self._cursor.connection.pgconn.encrypt_password(
                login.password.encode(), login.user.encode(), b"scram-sha-256"
            )
            words += sql.SQL(" PASSWORD {}").format(sql.Literal(sealed.decode()))
        self._cursor.execute(words)
        if login.user != self._roles.worker:
            self._do("GRANT {} TO {}", self._roles.worker, login.user)
        return f"{login.user}: logs in as the worker, as DATABASE_URL says."

    def _attributes(self) -> Iterator[str]:
        """Give each role, and each login in it, what is not inherited."""
        for role, settings in SETTINGS.items():
            self._set(getattr(self._roles, role), settings, here=False)
        yield from self._bypass(self._roles.worker)
        for user in self._logins(self._roles.worker):
            yield from self._bypass(user)
            yield from self._set_login(user, "worker")
        for user in self._logins(self._roles.analyst):
            yield from self._set_login(user, "analyst")

    def _bypass(self, name: str) -> Iterator[str]:
        """COPY refuses tables with row-level security to all who do not bypass it."""
        if self._rows("SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", name)[0][0]:
            return
        if self._try("ALTER ROLE {} BYPASSRLS", name):
            yield f"{name}: bypasses row-level security (BYPASSRLS), which COPY asks for."
        else:
            yield NO_BYPASS.format(user=self._user, role=name)

    def _set_login(self, user: str, role: str) -> Iterator[str]:
        if not self._set(user, SETTINGS[role], here=True):
            yield f"{user}: the {role}'s settings could not be given, because {self._user} may not change that user."
        else:
            yield f"{user}: a login of the {role}; has its settings in this database."

    def _set(self, name: str, values: Mapping[str, str], *, here: bool) -> bool:
        """Give a user settings of its sessions, `here` in this database alone; False when that is not allowed."""
        whose = sql.SQL("ALTER ROLE {}").format(sql.Identifier(name))
        if here:
            whose += sql.SQL(" IN DATABASE {}").format(sql.Identifier(self._database))
        for setting, value in values.items():
            # The one that is a list: its parts are names.
            given = sql.SQL(", ").join(map(sql.Literal, value.split(", ")))
            if not self._attempt(whose + sql.SQL(" SET {} TO {}").format(sql.Identifier(setting), given)):
                return False
        return True

    def _logins(self, group: str) -> list[str]:
        """Users who log in with the rights of a role, those apart who have more than these."""
        values = {"group": group, "owner": self._roles.owner, "worker": self._roles.worker}
        return [name for (name,) in self._rows(_LOGINS, values)]

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        given = values[0] if values and isinstance(values[0], dict) else values
        return self._cursor.execute(statement.encode(), given or None).fetchall()

    def _do(self, statement: str, *names: str) -> None:
        self._cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _try(self, statement: str, *names: str) -> bool:
        return self._attempt(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _attempt(self, statement: sql.Composed) -> bool:
        """Run what another server may not allow; False when it did not."""
        try:
            with self._cursor.connection.transaction():
                self._cursor.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True


_KINDS = ("TABLES", "SEQUENCES", "ROUTINES")

_NOT_OWNED = """
    SELECT 'SCHEMA', nspname, NULL, NULL, 0 AS place
    FROM pg_namespace
    WHERE nspname = ANY (%(schemas)s) AND nspowner <> %(owner)s::regrole
    UNION ALL
    SELECT 'TABLE', nspname, relname, NULL, 1
    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relowner <> %(owner)s::regrole
    UNION ALL
    SELECT 'ROUTINE', nspname, proname, '(' || pg_get_function_identity_arguments(p.oid) || ')', 2
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE nspname = ANY (%(schemas)s) AND proowner <> %(owner)s::regrole
    ORDER BY place, 2, 3
"""

_ONLY_READ = """
    SELECT nspname, relname
    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = ANY (%s) AND (relkind IN ('v', 'm') OR relname = 'alembic_version')
"""
"""Views show what is written elsewhere, and the version is written by migrations."""

_LOGINS = """
    SELECT rolname FROM pg_roles
    WHERE rolcanlogin AND NOT rolsuper AND rolname NOT IN (current_user, %(group)s)
        AND pg_has_role(oid, %(group)s, 'USAGE') AND NOT pg_has_role(oid, %(owner)s, 'USAGE')
        AND (%(group)s = %(worker)s OR NOT pg_has_role(oid, %(worker)s, 'USAGE'))
    ORDER BY 1
"""
