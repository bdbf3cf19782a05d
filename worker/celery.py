"""The Celery app: one static beat entry, two queues, JSON messages that hold an account's number and nothing else.

The queue is a doorbell. What is due, who works on it and how far it has come stand in Postgres; a queue that loses
everything costs one round of `dispatch`.
"""

from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutdown
from kombu.transport.redis import Channel, QoS

from worker.bootstrap import Mirror
from worker.config import Settings, from_environment
from worker.errors import UsageError

HARD_LIMIT = 180
"""Seconds; the engine ends a turn by itself long before (slice, request deadline), in any pool."""

settings: Settings = from_environment()


def broker(configured: Settings) -> str:
    """The broker's URL; raises UsageError that says how to give one."""
    if not configured.redis_url:
        raise UsageError("REDIS_URL is not set. Set it to your Redis or Valkey, as in redis://host:6379/0.")
    return configured.redis_url


app = Celery("mailmirror", broker=broker(settings), include=["worker.tasks"])
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
            # A worker that was busy has no use for the looks it missed.
            "options": {"expires": max(1.0, settings.dispatch_seconds)},
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
