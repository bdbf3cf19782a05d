"""The Celery app: one static beat entry, two queues, JSON messages that hold an account's number and nothing else.

The queue is a doorbell. What is due, who works on it and how far it has come stand in Postgres; a queue that loses
everything costs one round of `dispatch`.
"""

import contextlib
import ctypes
import gc
import logging
import re
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    worker_before_create_process,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel, QoS

# httpx brings a command line, and with it rich and pygments: 6 MB in each worker process that nothing here uses. None
# in this place makes its import fail, which httpx takes for a command line that is not installed.
if "httpx" not in sys.modules:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # the import system's own sign for "not there"

from worker.bootstrap import Mirror, roles, rotation
from worker.config import Settings, as_given, from_environment, unknown
from worker.errors import MailmirrorError, UsageError

HARD_LIMIT = 180
"""Seconds; the engine ends a turn by itself long before (slice, request deadline), in any pool."""


def broker(configured: Settings) -> str:
    """The broker's URL; raises UsageError that says how to give one."""
    if not configured.redis_url:
        raise UsageError("REDIS_URL is not set. Set it to your Redis or Valkey, as in redis://host:6379/0.")
    return configured.redis_url


log = logging.getLogger("mailmirror")

try:
    settings: Settings = from_environment()
    BROKER = broker(settings)
except UsageError as error:
    if Path(sys.argv[0]).name not in {"celery", "__main__.py"}:
        raise
    # The command `celery` would bury the sentence under a traceback.
    sys.stderr.write(f"{as_given(str(error))}\n")
    sys.exit(2)

app = Celery("mailmirror", broker=BROKER, include=["worker.tasks"])
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    event_serializer="json",
    result_serializer="json",
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    result_backend=None,
    task_default_queue="live",
    task_create_missing_queues=True,
    task_acks_late=True,
    # A turn that was lost is due in Postgres again; put back into the queue it could kill worker after worker.
    task_reject_on_worker_lost=False,
    task_time_limit=HARD_LIMIT,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=500,
    worker_max_memory_per_child=300_000,
    worker_soft_shutdown_timeout=30.0,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_remote_control=True,
    worker_send_task_events=False,
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "socket_timeout": 60,
        "socket_connect_timeout": 5,
    },
    beat_schedule={
        "dispatch": {
            "task": "mailmirror.dispatch",
            "schedule": settings.dispatch_seconds,
            # A look waits behind the rings in the queue; a worker that was away has no use for all those it missed.
            "options": {"expires": max(30.0, settings.dispatch_seconds)},
        }
    },
    beat_max_loop_interval=max(1.0, settings.dispatch_seconds),
    enable_utc=True,
    timezone="UTC",
)


class Doorbell(QoS):
    """Forgets what lies unacknowledged when the broker goes away: the mark in Postgres wears off.

    kombu 5.7 would put it back, or acknowledge it later, over a connection that is gone; the worker dies of it.
    """

    restore_at_shutdown = False

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge while there is a broker to tell."""
        connection: Any = self.channel.connection
        if not self.channel.closed and connection is not None and connection.client is not None:
            super().ack(delivery_tag)


Channel.QoS = Doorbell

_kombu: Any = Channel  # its stubs leave the method out, which has no place of its own to be changed at
_read = _kombu._brpop_read  # noqa: SLF001  # see above


def _read_message(self: Any, **options: Any) -> Any:
    """Take one message from the queues; kombu 5.7 lets a worker die of bytes that are none."""
    try:
        return _read(self, **options)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # It was taken from the queue already; whose account it may have meant, the next look finds due again.
        log.warning("Something in the queue is no message and was dropped (%s)", type(error).__name__)
        return True


_kombu._brpop_read = _read_message  # noqa: SLF001  # see above

SECRET = re.compile(r"(?i)\b(bearer|apikey)[ \t]+[^\s'\"<>,;]+|(?<=://)[^\s/@]*@")

REFUSING = "celery.worker.consumer.consumer"
"""The logger that tells of messages which are no task of ours."""


class Redacting(logging.Formatter):
    """The last line before a log: nothing of ours writes a credential, and what a library might write is masked."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Format as before, tracebacks and all, and mask what follows Bearer or APIKey or stands before an @.

        Of a message that it refuses Celery would repeat the contents: whoever filled the queue chose them.
        """
        text = self._inner.format(record)
        if record.name == REFUSING:
            text = text.partition("\n\n")[0]
        return SECRET.sub(lambda found: f"{found[1]} ***" if found[1] else "***@", text)


@after_setup_logger.connect
@after_setup_task_logger.connect
def _redact(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        if not isinstance(handler.formatter, Redacting):
            handler.setFormatter(Redacting(handler.formatter or logging.Formatter()))


@worker_ready.connect
def _look_around(**_: Any) -> None:
    """Say at the start which settings and keys are amiss, and that no worker needs to be a superuser."""
    for sentence in unknown():
        log.warning("%s", sentence)
    try:
        opened = Mirror.open(settings)
        try:
            for sentence in rotation.missing_keys(opened.engine, opened.keys):
                log.warning("%s", sentence)
            if superuser := roles.superuser_of(opened.engine):
                log.warning("DATABASE_URL logs in as %s, a superuser: see mailmirror roles apply --help", superuser)
        finally:
            opened.close()
    except MailmirrorError as error:
        log.warning("Keys and rights could not be looked at: %s", error)


@worker_before_create_process.connect
def _share_memory(**_: Any) -> None:
    """Keep the collector's hands off what a child is about to share.

    It writes to every object it looks at: one full collection in a child was measured to make 40 MB its own.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


@worker_process_init.connect
def _allocate_in_one_place(**_: Any) -> None:
    """Let all threads allocate from one heap: each would else keep its own, with what its largest page once took.

    As MALLOC_ARENA_MAX=1 does. Python's lock lets one thread allocate at a time anyhow. Not every C library has it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def waiting(queue: str) -> int:
    """Count the messages in a queue that no worker has taken; raises OperationalError where the broker is away."""
    pool: Any = app.pool
    with pool.acquire(block=True) as connection:
        try:
            return int(connection.default_channel.client.llen(queue))
        except connection.connection_errors as error:
            raise OperationalError(type(error).__name__) from error


_mirror: Mirror | None = None


def mirror() -> Mirror:
    """This process's connections, made at its first task and so never shared across a fork."""
    global _mirror  # noqa: PLW0603  # one per process is the point
    if _mirror is None:
        _mirror = Mirror.open(settings)
    return _mirror


@worker_process_shutdown.connect
@worker_shutdown.connect
def _close(**_: Any) -> None:
    global _mirror  # noqa: PLW0603  # see above
    if _mirror is not None:
        _mirror.close()
        _mirror = None
