"""Faults that answer in the place of the API: statuses, pages of a proxy, redirects, resets."""
# ruff: noqa: ARG001 - every fault has one signature

from collections.abc import Callable

from . import wire
from .changelog import expired_cursor
from .faults import Fault
from .limits import retry_after
from .problems import ApiError, invalid, not_found
from .wire import Call, Reply
from .world import World

Answer = Callable[[Fault, Call, World], Reply | None]
_HTML = b"<!DOCTYPE html><html><head><title>%d</title></head><body><h1>Something is in the way</h1></body></html>"
_CODES = {500: "internal_error", 502: "bad_gateway", 503: "service_not_available", 504: "gateway_timeout"}


def _error(status: int, code: str, message: str) -> Answer:
    def answer(fault: Fault, call: Call, world: World) -> Reply:
        raise ApiError(int(fault.args.get("status", status)), str(fault.args.get("error_code", code)), message)

    return answer


def _rate_limit(fault: Fault, call: Call, world: World) -> Reply:
    value = fault.args.get("retry_after", 1)
    form = fault.args.get("form")
    if form is not None:
        headers = retry_after(str(form), float(value or 0), world.clock.now())
    else:
        headers = () if value is None else (("Retry-After", str(value)),)
    code = str(fault.args.get("error_code", "too_many_requests"))
    raise ApiError(429, code, "Too many requests.", headers)


def _server_error(fault: Fault, call: Call, world: World) -> Reply:
    status = int(fault.args.get("status", 503))
    code = str(fault.args.get("error_code", _CODES.get(status, "internal_error")))
    raise ApiError(status, code, "The server could not answer.")


def _status(fault: Fault, call: Call, world: World) -> Reply:
    args = fault.args
    status = int(args.get("status", 500))
    headers = [(str(key), str(value)) for key, value in dict(args.get("headers", {})).items()]
    if "body" not in args:
        code = str(args.get("error_code", _CODES.get(status, "request_failed")))
        raise ApiError(status, code, str(args.get("message", "Armed fault.")), tuple(headers))
    body = args["body"] if isinstance(args["body"], str) else wire.encode(args["body"]).decode()
    return Reply(status, body.encode(), str(args.get("content_type", "application/json")), headers)


def _html(status: int) -> Answer:
    def answer(fault: Fault, call: Call, world: World) -> Reply:
        code = int(fault.args.get("status", status))
        return Reply(code, _HTML % code, "text/html; charset=utf-8")

    return answer


def _error_200(fault: Fault, call: Call, world: World) -> Reply:
    body = {"status_code": 500, "message": "Armed fault.", "error_code": "internal_error", "id": "armed"}
    return wire.reply({**body, **fault.args})


def _empty_body(fault: Fault, call: Call, world: World) -> Reply:
    return Reply(int(fault.args.get("status", 200)))


def _redirect(fault: Fault, call: Call, world: World) -> Reply:
    location = str(fault.args.get("location", "http://127.0.0.1:9/elsewhere"))
    return Reply(int(fault.args.get("status", 302)), headers=[("Location", location)])


def _token_expired(fault: Fault, call: Call, world: World) -> Reply | None:
    if call.get("page") is None:
        return None
    raise invalid("The page parameter has expired.")


def _cursor_expired(fault: Fault, call: Call, world: World) -> Reply | None:
    if call.get("cursor") is None:
        return None
    raise expired_cursor(str(fault.args.get("mode", "400")))


def _vanishes(fault: Fault, call: Call, world: World) -> Reply | None:
    """Delete the message for good, the moment it is asked for."""
    account = world.accounts.get(call.account_id or 0)
    serial = account.serial_of(call.names.get("message", "")) if account else None
    if account is None or serial is None or fault.message_id not in (None, call.names["message"]):
        return None
    account.delete(serial, world.clock.now())
    raise not_found("Message")


def _reset(fault: Fault, call: Call, world: World) -> Reply:
    return Reply(wire={"reset": 0})


def _hang(fault: Fault, call: Call, world: World) -> Reply:
    return Reply(wire={"delay": float(fault.args.get("seconds", 3600)), "reset": 0})


ANSWERS: dict[str, tuple[Answer, str]] = {
    "rate_limit": (
        _rate_limit,
        "429; args retry_after (any value, null: no header), form (date|float|seconds), error_code",
    ),
    "unauthorized": (_error(401, "unauthorized", "The token is invalid."), "401 unauthorized"),
    "service_unauthorized": (_error(401, "service_unauthorized", "Reconnect the account."), "401 service_unauthorized"),
    "forbidden": (_error(403, "forbidden", "Forbidden."), "403 forbidden"),
    "service_forbidden": (_error(403, "service_forbidden", "The scope is missing."), "403 service_forbidden"),
    "not_found": (_error(404, "not_found", "Not found."), "404 not_found as JSON, though it is there"),
    "server_error": (_server_error, "args status (503), error_code"),
    "status": (_status, "any answer; args status, error_code, message, headers, body, content_type"),
    "html_error": (_html(502), "HTML with args status (502)"),
    "html_404": (_html(404), "404 as HTML, not the API's JSON"),
    "html_200": (_html(200), "HTML with status 200"),
    "error_200": (_error_200, "an error object with status 200; args replace its fields"),
    "empty_body": (_empty_body, "no body; args status (200)"),
    "redirect": (_redirect, "args location (another host), status (302)"),
    "page_token_expired": (_token_expired, "400 invalid_parameters when the request has `page`"),
    "cursor_expired": (_cursor_expired, "when the request has `cursor`; args mode 400|404|410"),
    "message_vanishes": (_vanishes, "route get: the message is deleted (logged), then 404"),
    "reset": (_reset, "connection reset before anything is done"),
    "hang": (_hang, "no answer for args seconds (3600), then a reset"),
}
