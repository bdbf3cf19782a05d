"""Commands about this installation: migrate, config, version."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from worker.cli import output, session
from worker.config import Settings, origins, variable_of
from worker.errors import MailmirrorError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def migrate(
    revision: Annotated[str, typer.Option(metavar="ID", help="Bring it to this revision, not the newest.")] = "head",
) -> int:
    """Create or upgrade the tables in the database; nothing happens when they are up to date."""
    from worker import bootstrap  # loads the database layer

    before, after = bootstrap.migrate(session.settings(), revision)
    if before == after:
        output.say(f"The schema is at revision {after} already.")
    else:
        output.say(f"Migrated from {f'revision {before}' if before else 'no schema'} to revision {after}.")
    return output.DONE


def config(*, as_json: Json = False) -> int:
    """Show the settings in force and where each value comes from; secrets are masked."""
    settings = session.settings()
    shown, sources = settings.shown(), origins()
    shown["keyring"], sources["keyring"] = _keys_in_force(settings, shown["keyring"], sources["keyring"])
    if as_json:
        output.document({variable_of(name): {"value": shown[name], "from": sources[name]} for name in shown})
        return output.DONE
    if not shown["owner_url"]:
        shown["owner_url"] = f"as {variable_of('database_url')}"
    output.table(("variable", "value", "from"), [(variable_of(n), shown[n] or "-", sources[n]) for n in shown])
    return output.DONE


def _keys_in_force(settings: Settings, shown: str, source: str) -> tuple[str, str]:
    """The key file that is in force, or what was shown where there is none; raises UsageError for wrong keys."""
    from worker.bootstrap import credentials  # loads the database layer

    ring = credentials.load_keys(settings)
    if ring.file is None or not ring.names:
        return shown, source
    return str(ring.file), source if settings.keyring else variable_of("data")


def version(*, as_json: Json = False) -> int:
    """Show the versions of mailmirror and Python, and the database's schema where it can be reached."""
    found, trouble = _revision()
    facts = {"mailmirror": _own_version(), "python": platform.python_version(), "schema": found}
    if as_json:
        output.document(facts)
        return output.DONE
    output.say(f"mailmirror {facts['mailmirror']}")
    output.say(f"Python {facts['python']}")
    output.say(f"schema {found}" if found else f"schema unknown: {trouble}")
    return output.DONE


def _own_version() -> str:
    try:
        return version_of("mailmirror")
    except PackageNotFoundError:
        return "not installed"


def _revision() -> tuple[str | None, str]:
    from worker import bootstrap  # loads the database layer

    try:
        found = bootstrap.schema_revision(session.settings())
    except MailmirrorError as error:
        return None, str(error)
    return found, "The database has no mailmirror schema yet. Run: mailmirror migrate"
