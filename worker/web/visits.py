"""What a request says of who sends it: the cookie, the form, the bearer token."""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.web.access import SESSION_SECONDS, Access

COOKIE = "mailmirror"
FORM_LIMIT = 4096
"""Bytes of a form."""

READ_ONLY = "This page is read-only. To try problems again here, start it with MAILMIRROR_WEB_TOKEN."
STALE = "This form is too old, or was not sent by this page. Go back, load the page again and repeat it."
SIGN_IN = "/sign-in"


def cookie_of(request: Request) -> str:
    """The cookie that a browser sends, good or not."""
    return request.cookies.get(COOKIE, "")


def signed_in(access: Access, request: Request) -> bool:
    """Whether a request comes from somebody who gave the token."""
    return access.visitor(cookie_of(request)) == "in"


def stranger(access: Access, request: Request) -> Response | None:
    """Where to send somebody who may not read a page; None for all others."""
    if access.with_token and not signed_in(access, request):
        return RedirectResponse(SIGN_IN, 303)
    return None


def with_cookie(request: Request, answer: Response, cookie: str) -> Response:
    """Let the browser keep a cookie."""
    # A proxy in front says so itself; who lies here makes his own cookie useless.
    secure = "https" in {request.url.scheme, request.headers.get("x-forwarded-proto")}
    answer.set_cookie(
        COOKIE, cookie, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict", secure=secure
    )
    return answer


def without_cookie(answer: Response) -> Response:
    """Let the browser forget its cookie."""
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


async def form(access: Access, request: Request, *, of_visitor: bool = False) -> dict[str, str]:
    """Read a form that a page of ours was filled in with; raises HTTPException for any other.

    `of_visitor` admits those who have not signed in yet.
    """
    if not access.with_token:
        raise HTTPException(403, READ_ONLY)
    if not of_visitor and not signed_in(access, request):
        raise HTTPException(403, "Sign in first.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_LIMIT:
            raise HTTPException(413, "This form is too large.")
    try:
        fields = parse_qs(body.decode(), max_num_fields=8)
    except ValueError:
        raise HTTPException(400, "This form cannot be read.") from None
    given = {name: values[0] for name, values in fields.items()}
    headers = request.headers
    ours = access.same_site(headers.get("host", ""), headers.get("origin", ""), headers.get("sec-fetch-site", ""))
    if not ours or not access.marked(cookie_of(request), given.get("mark", "")):
        raise HTTPException(403, STALE)
    return given


def require_bearer(access: Access, request: Request) -> None:
    """Let programs of this machine ask; others need the token, or HTTPException is raised."""
    if access.loopback or access.admits(request.headers.get("authorization", "")):
        return
    raise HTTPException(401, "Send MAILMIRROR_WEB_TOKEN as a bearer token.", {"WWW-Authenticate": "Bearer"})
