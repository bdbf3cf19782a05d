"""The pages: what each path answers. Reading goes through sessions that cannot write; only a retry does."""

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from worker.config import Settings
from worker.errors import MailmirrorError, StoreUnavailableError, UsageError
from worker.store import fleet, overview, problems
from worker.store.engine import Engine, connect
from worker.web import metrics, timeline, visits, wording
from worker.web.access import Access
from worker.web.bell import Bell
from worker.web.guard import Guard

DEADLINE = 10.0
"""Seconds for an answer, also where Postgres has frozen and its own limits do not count."""
THREADS = 8
PROBLEMS_SHOWN = 100
LAST_PAGE = 100_000
UNRUNG = 60.0
"""Seconds that an account may be due without a ring before a page says so."""
FILES = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}

SLOW = "Postgres did not answer in time. Try again."
AWAY = "Postgres does not answer."
WRONG = "The page cannot be shown; the program's log says why."

log = logging.getLogger("mailmirror.web")
T = TypeVar("T")


class Site:
    """Everything that the page shows, over one database and one broker."""

    def __init__(self, settings: Settings, access: Access) -> None:
        url = settings.require_database()
        self._access = access
        self._reading: Engine = overview.reading(url)
        self._writing: Engine = connect(url, pool_size=1)
        self._bell = Bell(settings.redis_url)
        self._threads = ThreadPoolExecutor(THREADS, "page")
        self._templates = Environment(
            loader=PackageLoader("worker.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(wording.FILTERS)
        self._templates.globals.update(states=wording.STATES, kinds=wording.KINDS, draw=timeline.draw)
        self._files = {name: (files("worker.web") / "static" / name).read_bytes() for name in FILES}
        self.application: ASGIApp = Guard(self._routed(), access)

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._reading.dispose()
        self._writing.dispose()
        self._bell.close()

    def _routed(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._overview),
                Route("/accounts/{id}", self._account),
                Route("/accounts/{id}/retry", self._retry, methods=["POST"]),
                Route("/accounts/{id}/problems/{problem}/retry", self._retry, methods=["POST"]),
                Route(visits.SIGN_IN, self._sign_in, methods=["GET", "POST"]),
                Route("/sign-out", self._sign_out, methods=["POST"]),
                Route("/metrics", self._metrics),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/{file}", self._file),
            ],
            exception_handlers={
                HTTPException: self._refused,
                MailmirrorError: self._failed,
            },
        )

    # --- pages

    async def _overview(self, request: Request) -> Response:
        if (elsewhere := visits.stranger(self._access, request)) is not None:
            return elsewhere
        status = request.query_params.get("state") or None
        if status is not None and status not in wording.STATES:
            raise HTTPException(404, "There is no such state.")
        number = _number(request.query_params.get("page", "1"), LAST_PAGE)
        page, queue = await asyncio.gather(
            self._soon(overview.page, self._reading, status, number), self._soon(self._bell.ask)
        )
        total = page.fleet.accounts if status is None else page.fleet.statuses.get(status, 0)
        return self._shown(
            request,
            "overview.html",
            page=page,
            fleet=page.fleet,
            queue=queue,
            queue_known=self._bell.known,
            status=status,
            number=number,
            total=total,
            pages=max(1, -(-total // overview.PAGE)),
            first=(number - 1) * overview.PAGE + 1,
            unrung=UNRUNG,
        )

    async def _account(self, request: Request) -> Response:
        if (elsewhere := visits.stranger(self._access, request)) is not None:
            return elsewhere
        account_id = _number(request.path_params["id"])
        standing, found = await asyncio.gather(
            self._soon(overview.account, self._reading, account_id),
            self._soon(lambda: problems.listed(self._reading, account_id, limit=PROBLEMS_SHOWN)),
        )
        if standing is None:
            raise HTTPException(404, f"There is no account {account_id}.")
        retried = request.query_params.get("retried")
        return self._shown(
            request,
            "account.html",
            standing=standing,
            account=standing.account,
            at=standing.at,
            problems=found,
            retried=None if retried is None else _number(retried),
            most=overview.SHOWN,
        )

    async def _retry(self, request: Request) -> Response:
        """Have one problem of an account, or all of them, tried again."""
        await visits.form(self._access, request)
        account_id = _number(request.path_params["id"])
        problem = request.path_params.get("problem")
        chosen = {"account_id": account_id} if problem is None else {"problem_id": _number(problem)}
        try:
            count = await self._soon(lambda: problems.retry(self._writing, **chosen))
        except UsageError:
            await self._soon(overview.ready, self._reading)  # what is wrong with the database says it itself
            raise HTTPException(404, "There is no such problem.") from None
        return RedirectResponse(f"/accounts/{account_id}?retried={count}", 303)

    # --- signing in

    async def _sign_in(self, request: Request) -> Response:
        if not self._access.with_token:
            return RedirectResponse("/", 303)
        if request.method == "POST":
            form = await visits.form(self._access, request, of_visitor=True)
            if self._access.knows(form.get("token", "")):
                return visits.with_cookie(request, RedirectResponse("/", 303), self._access.cookie("in"))
            log.warning("Somebody tried to sign in with a wrong token")
        elif visits.signed_in(self._access, request):
            return RedirectResponse("/", 303)
        # The cookie of before stays good: a second page of the same browser may show a form under it.
        kept = visits.cookie_of(request)
        cookie = kept if self._access.visitor(kept) is not None else self._access.cookie("form")
        wrong = request.method == "POST"
        answer = self._shown(
            request, "sign-in.html", 403 if wrong else 200, wrong=wrong, mark=self._access.mark(cookie)
        )
        return visits.with_cookie(request, answer, cookie)

    async def _sign_out(self, request: Request) -> Response:
        await visits.form(self._access, request)
        return visits.without_cookie(RedirectResponse(visits.SIGN_IN, 303))

    # --- programs

    async def _metrics(self, request: Request) -> Response:
        visits.require_bearer(self._access, request)
        queue = await self._soon(self._bell.ask)
        found: fleet.Fleet | None
        try:
            await self._soon(overview.ready, self._reading)
            found = await self._soon(fleet.figures, self._reading)
        except MailmirrorError as error:
            log.warning("No figures: %s", error)
            found = None
        text = metrics.text(_release(), found, queue, queue_known=self._bell.known)
        return Response(text, media_type=metrics.TYPE)

    async def _healthz(self, request: Request) -> Response:
        visits.require_bearer(self._access, request)
        return PlainTextResponse("The page answers.\n")

    async def _readyz(self, request: Request) -> Response:
        visits.require_bearer(self._access, request)
        try:
            await self._soon(overview.ready, self._reading)
        except MailmirrorError as error:
            return PlainTextResponse(f"{_said(error)}\n", 503)
        return PlainTextResponse("The database answers and has the tables of this release.\n")

    async def _file(self, request: Request) -> Response:
        name = request.path_params["file"]
        if name not in self._files:
            raise HTTPException(404)
        return Response(self._files[name], media_type=FILES[name], headers={"Cache-Control": "max-age=3600"})

    # --- answering

    async def _soon(self, work: Callable[..., T], *given: Any) -> T:
        """Do it in a thread; raises StoreUnavailableError where that takes too long."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
        try:
            return await asyncio.wait_for(running, DEADLINE)
        except TimeoutError:
            raise StoreUnavailableError(SLOW, sqlstate=overview.CANCELLED) from None

    def _shown(self, request: Request, template: str, code: int = 200, **values: object) -> HTMLResponse:
        inside = visits.signed_in(self._access, request)
        known = {
            "signed_in": inside,
            "can_retry": inside and self._access.with_token,
            "mark": self._access.mark(visits.cookie_of(request)) if inside else "",
            "release": _release(),
        }
        return HTMLResponse(self._templates.get_template(template).render(known | values), code)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
        said = error.detail if error.detail.endswith(".") else f"{error.detail}."
        return self._told(request, said, error.status_code, dict(error.headers or {}))

    async def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, MailmirrorError)  # noqa: S101  # registered for nothing else
        log.warning("%s: %s", request.url.path, error)
        return self._told(
            request, _said(error), 503 if isinstance(error, StoreUnavailableError | UsageError) else 500, {}
        )

    def _told(self, request: Request, sentence: str, code: int, headers: dict[str, str]) -> Response:
        """Say one sentence, as a page to browsers and as text to programs."""
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{sentence}\n", code, headers)
        answer = self._shown(request, "told.html", code, sentence=sentence)
        answer.headers.update(headers)
        return answer


def _said(error: MailmirrorError) -> str:
    """An error in one sentence, without a word of where the database is and what it holds."""
    if isinstance(error, StoreUnavailableError):
        return SLOW if error.sqlstate == overview.CANCELLED else AWAY
    return str(error) if isinstance(error, UsageError) else WRONG


def _number(text: str, most: int = 10**18) -> int:
    """Read a number out of an address; raises HTTPException for what is none."""
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise HTTPException(404, "There is no such page.")
    return max(1, min(int(text), most)) if most == LAST_PAGE else int(text)


def _release() -> str:
    try:
        return version("mailmirror")
    except PackageNotFoundError:
        return "unknown"
