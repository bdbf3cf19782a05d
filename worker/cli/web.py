"""`mailmirror web`: how every account stands, as a page."""

from typing import Annotated

import typer

from worker.cli import output, session

PORT = 8025


def web(
    *,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = PORT,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name that browsers ask by; may be repeated.")
    ] = None,
) -> int:
    """Serve a page with every account's state and problems, without any mail, and figures for Prometheus."""
    from worker.web import listen  # loads the database layer and a web server

    settings = session.settings()
    with listen(settings, host=host, port=port, names=tuple(name or ())) as page:
        what = "Sign in there with MAILMIRROR_WEB_TOKEN." if settings.web_token else "It is read-only."
        output.say(f"The page is at {page.url} until Ctrl-C. {what}")
        output.flush()
        try:
            page.run()
        except KeyboardInterrupt:
            output.note("Stopped.")
    return output.DONE
