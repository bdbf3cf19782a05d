"""Settings: read from the environment once, and passed down."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from worker.errors import UsageError
from worker.quantities import BYTES, SECONDS, Unit

HOSTED_URL = "https://api.kloudless.com/v1"
FILE = "_FILE"
"""Ends the name of a variable that names a file with the value: for secrets that are mounted as files."""
SECRETS = frozenset({"database_url", "owner_url", "redis_url", "kloudless_api_key", "keyring", "web_token"})
REDIS_SCHEMES = ("redis://", "rediss://", "redis+socket://", "sentinel://")
OTHERS = re.compile("MAILMIRROR_(DEBUG|CORPUS|TEST_.*)")
"""Variables of ours that are no settings."""
ROLES_PREFIX = "mailmirror"
"""Begins the names of the database roles unless a person chooses another one."""

Bytes = Annotated[int, BYTES]
Seconds = Annotated[float, SECONDS]


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set; the name in the environment is `MAILMIRROR_` and the field in capitals.

    `database_url` and `redis_url` are read from `DATABASE_URL` and `REDIS_URL`. Each variable has a second one with
    `_FILE` at its end, which names a file that holds the value.
    """

    database_url: str | None = None
    """Postgres for everything but migrations and roles; its user needs no more than the worker's rights."""
    owner_url: str | None = None
    """The same database for a user who may change tables and roles; `database_url` where it is not set."""
    redis_url: str | None = None
    data: Path = Path(".data")
    """Folder for what the embedded servers keep and for the key file."""
    kloudless_url: str = HOSTED_URL
    """Root of the API with its version; the hosted service is very probably gone (kloudless-api.md 1)."""
    kloudless_api_key: str | None = None
    """App-wide key, used for accounts that have no token of their own."""
    keyring: str | None = None
    """`name:base64key[,name:base64key…]` or the path of a file that holds it; the first key writes."""
    web_token: str | None = None
    """Lets people sign in at the web page and try problems again there; of the web page alone."""
    bodies: Literal["full", "text", "none"] = "full"
    """Which bodies are kept: both, the plain text only, or neither."""
    max_body: Bytes = 16 * 1024 * 1024
    """Bytes of `body` and of `text_body` kept of one message."""
    keep_raw: bool = False
    """Also keep the upstream service's own object in `mail.messages.raw`."""
    page_size: int = 100
    """Messages asked for per page, 1 to 1000; a service may give fewer."""
    parallel_windows: int = 4
    """Windows of one account walked at the same time."""
    parallel_fetches: int = 4
    """Messages of one account asked for at the same time."""
    max_response: Bytes = 128 * 1024 * 1024
    """Decoded bytes of one answer before it is given up."""
    request_timeout: Seconds = 45.0
    """Seconds from the start of a request to the end of its answer."""
    window_messages: int = 2000
    """Messages aimed at in one window of the ledger."""
    slice_seconds: Seconds = 30.0
    """Seconds of work on one account before others get their turn."""
    poll_seconds: Seconds = 60.0
    """Seconds between polls of an account that changes."""
    poll_slowest: Seconds = 300.0
    """Seconds between polls of an account that has been quiet for long; `poll_seconds` where that is longer."""
    back_off: Seconds = 10.0
    """Seconds an account waits after a failure; doubled with each further one, up to an hour."""
    dispatch_seconds: Seconds = 2.0
    """Seconds between looks at which accounts are due."""
    live_slots: int = 1000
    """Accounts that may wait for, or be in, a look at what has changed."""
    backfill_slots: int = 16
    """Accounts whose history is worked on at the same time."""

    def __repr__(self) -> str:
        return f"Settings({self.shown()})"

    def shown(self) -> dict[str, str]:
        """The settings as text with secrets masked, for people."""
        return {name: _shown(name, getattr(self, name)) for name in self.__struct_fields__}

    def require_database(self) -> str:
        """The database URL in SQLAlchemy's form, or a UsageError that says how to give one."""
        if not self.database_url:
            message = "DATABASE_URL is not set. Set it to your Postgres, as in postgresql://user@host/name."
            raise UsageError(message)
        return sqlalchemy_url(self.database_url)

    def require_owner(self) -> str:
        """The URL that changes tables and roles, in SQLAlchemy's form, or a UsageError that says how to give one."""
        if not self.owner_url:
            return self.require_database()
        return sqlalchemy_url(self.owner_url, variable_of("owner_url"))


HINTS = get_type_hints(Settings, include_extras=True)


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raises UsageError naming the variable that is wrong."""
    values: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        variable = variable_of(name)
        text = _given(variable, environ)
        if not text:
            continue
        try:
            values[name] = _read(text, HINTS[name])
        except ValueError as error:
            message = f"{variable} must be {_wanted(HINTS[name])}, not {text[:40]!r}."
            raise UsageError(message) from error
    _check(values)
    _check_addresses(values)
    _check_polls(values)
    return Settings(**values)  # type: ignore[arg-type]  # each value was converted to its field's type above


def origins(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Say of each setting where its value comes from: the environment, the file its twin names, or the default."""
    found = {}
    for name in Settings.__struct_fields__:
        variable = variable_of(name)
        path = environ.get(f"{variable}{FILE}", "")
        source = f"{variable}{FILE}: {path}" if path else "environment"
        found[name] = source if _given(variable, environ) else "default"
    return found


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Say of each variable that begins like ours, and is none, which one was probably meant; a sentence each."""
    known = {f"{variable_of(name)}{suffix}" for name in Settings.__struct_fields__ for suffix in ("", FILE)}
    said = []
    for variable in sorted(environ):
        if variable.startswith("MAILMIRROR_") and variable not in known and not OTHERS.fullmatch(variable):
            ours = {name.removeprefix("MAILMIRROR_"): name for name in sorted(known)}
            near = difflib.get_close_matches(variable.removeprefix("MAILMIRROR_"), ours, n=1)
            meant = f" Did you mean {ours[near[0]]}?" if near else " All settings: mailmirror config"
            said.append(f"{variable} is no setting and changes nothing.{meant}")
    return said


def as_given(sentence: str, environ: Mapping[str, str] = os.environ) -> str:
    """Let a sentence name the `_FILE` twins of those variables whose values were read from files."""
    for name in Settings.__struct_fields__:
        variable = variable_of(name)
        with suppress(UsageError):  # a file that cannot be read was named already
            if _given(variable, environ) and not environ.get(variable):
                sentence = re.sub(rf"\b{variable}\b", f"{variable}{FILE}", sentence)
    return sentence


def _read(text: str, kind: object) -> object:
    """Convert the text of a variable to its setting's type; raises ValueError."""
    unit = _unit(kind)
    read: object = text if unit is None else unit.read(text)
    if kind is Path:
        return Path(text)
    return msgspec.convert(read, kind, strict=False)  # its ValidationError is a ValueError


def _unit(kind: object) -> Unit | None:
    """What a setting of this type is measured in, if in anything."""
    return next((extra for extra in get_args(kind)[1:] if isinstance(extra, Unit)), None)


def _given(variable: str, environ: Mapping[str, str]) -> str:
    """The text of a variable, or of the file that its `_FILE` twin names; empty when neither says anything."""
    text = environ.get(variable, "")
    path = environ.get(f"{variable}{FILE}", "")
    if not path:
        return text
    if text:
        message = f"{variable} and {variable}{FILE} are both set. Unset one of them."
        raise UsageError(message)
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"{variable}{FILE} names {path}, which cannot be read: {reason}."
        raise UsageError(message) from error


def to_environment(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which `from_environment` reads these settings, whatever the folder it runs in.

    Everything else in `environ` stays as it is.
    """
    if settings.keyring and os.path.isfile(os.path.expanduser(settings.keyring)):  # noqa: PTH111, PTH113  # any text
        settings = msgspec.structs.replace(settings, keyring=str(Path(settings.keyring).expanduser().absolute()))
    ours = {variable_of(name): getattr(settings, name) for name in Settings.__struct_fields__}
    hidden = {f"{variable}{suffix}" for variable in ours for suffix in ("", FILE)}
    kept = {variable: text for variable, text in environ.items() if variable not in hidden}
    return kept | {variable: _written(value) for variable, value in ours.items() if value is not None}


def _written(value: object) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wanted(kind: object) -> str:
    """What a setting of this type may be, in words."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    unit = _unit(kind)
    if unit is not None:
        return unit.sentence
    words: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(kind, "text")


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if name in {"database_url", "redis_url"} else f"MAILMIRROR_{name.upper()}"


def sqlalchemy_url(url: str, variable: str = "DATABASE_URL") -> str:
    """Name the psycopg driver in a Postgres URL; raises UsageError, naming the variable, for another database."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
        message = f"{variable} must begin with postgresql://, as in postgresql://user@host/name."
        raise UsageError(message)
    return f"postgresql+psycopg://{rest}"


NO_UPSTREAM = "MAILMIRROR_KLOUDLESS_URL is no address. Set it to one like https://api.example.com/v1."


def require_upstream(scheme: str, host: str | None, port: int | None, *, more: bool) -> None:
    """Raise UsageError unless these are the parts of an https or a loopback http URL; `more` is a user or a query.

    Whoever reads a URL checks the parts that its own reader found: two readers may see two hosts.
    """
    name = "MAILMIRROR_KLOUDLESS_URL"
    if scheme not in {"http", "https"} or not host or not (port is None or 0 < port < 1 << 16):
        raise UsageError(f"{name} must be an https address, like https://api.example.com/v1.")
    if more:
        raise UsageError(f"{name} must hold neither a user name nor a question mark nor a hash sign.")
    if scheme == "http" and not _is_loopback(host):
        raise UsageError(f"{name} must begin with https://: mail and tokens do not travel in the clear.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_addresses(values: Mapping[str, object]) -> None:
    if isinstance(url := values.get("kloudless_url"), str):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise UsageError(NO_UPSTREAM) from None
        more = bool("@" in parts.netloc or parts.query or parts.fragment)
        require_upstream(parts.scheme, parts.hostname, port, more=more)
    if isinstance(url := values.get("redis_url"), str) and not url.startswith(REDIS_SCHEMES):
        message = "REDIS_URL must begin with redis:// (or rediss://, sentinel://), as in redis://host:6379/0."
        raise UsageError(message)


def _number(values: Mapping[str, object], name: str) -> float:
    return msgspec.convert(values.get(name, getattr(Settings(), name)), float)


def _check_polls(values: dict[str, object]) -> None:
    """Let the slowest poll follow the usual one where only that was given; raises UsageError where both disagree."""
    usual, slowest = (_number(values, name) for name in ("poll_seconds", "poll_slowest"))
    if usual <= slowest:
        return
    if "poll_slowest" in values:
        message = (
            f"MAILMIRROR_POLL_SLOWEST must not be below MAILMIRROR_POLL_SECONDS, which is {SECONDS.write(usual)}, "
            f"but is {SECONDS.write(slowest)}."
        )
        raise UsageError(message)
    values["poll_slowest"] = usual


LIMITS = {
    "page_size": (1, 1000),
    "parallel_windows": (1, 64),
    "parallel_fetches": (1, 64),
    "max_body": (0, 1 << 29),
    "max_response": (1 << 16, 1 << 31),
    "request_timeout": (1, 80),
    "window_messages": (1, 5000),
    "slice_seconds": (1, 80),
    "poll_seconds": (1, 86_400),
    "poll_slowest": (1, 86_400),
    "back_off": (0.1, 3600),
    "dispatch_seconds": (0.2, 60),
    "live_slots": (1, 100_000),
    "backfill_slots": (1, 10_000),
}


def _check(values: Mapping[str, object]) -> None:
    for name, (low, high) in LIMITS.items():
        value = values.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            write = unit.write if (unit := _unit(HINTS[name])) else str
            message = f"{variable_of(name)} must be between {write(low)} and {write(high)}, not {write(value)}."
            raise UsageError(message)


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in SECRETS:
        return "***"
    if name == "kloudless_url":
        return re.sub(r"(?<=://).*@", "***@", str(value))
    unit = _unit(HINTS[name])
    if unit is not None and isinstance(value, int | float):
        return unit.write(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
