"""`mailmirror roles`: the database's roles, and what each may do.

They are made as a superuser, or as an owner with CREATEROLE: the user in MAILMIRROR_OWNER_URL, else in DATABASE_URL.
"""

from typing import Annotated

import typer

from worker.cli import output, session
from worker.config import ROLES_PREFIX

app = typer.Typer(no_args_is_help=True, help="The database's roles: owner, worker, analyst.")


@app.command("apply")
def apply(
    *,
    prefix: Annotated[str, typer.Option(metavar="WORD", help="Begins the names of the roles.")] = ROLES_PREFIX,
    login: Annotated[
        bool,
        typer.Option(
            "--login", help="Also let the user in DATABASE_URL log in as the worker, with the password there."
        ),
    ] = False,
) -> int:
    """Make the roles owner, worker and analyst and set what each may do, as the user in MAILMIRROR_OWNER_URL."""
    from worker import bootstrap  # loads the database layer

    for sentence in bootstrap.apply_roles(session.settings(), prefix, login=login):
        output.say(sentence)
    return output.DONE
