"""Parts of the page that are worked out: profiles as tables, and what the figures mean for a machine of one's own."""

from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Mapping[str, Any]]
ALTERNATIVES = {
    "mirror-size.svg": "Messages a CPU second against the size of the mirror",
    "parallel-windows.svg": "Messages a second against the windows walked side by side",
    "accounts.svg": "Lag against the number of accounts",
}
OURS = ("worker live", "worker backfill", "beat", "PostgreSQL", "Valkey")
"""The processes of an installation; the rest belongs to the bench."""
INTERVAL = 60
HALF = 0.5
"""The part of its processors that a machine should be busy for; the rest is for backfills and bad days."""


def rows(parts: Found, part: str) -> list[Mapping[str, Any]]:
    return list(parts.get(part, {}).get("rows", ()))


def where(parts: Found) -> Iterator[str]:
    """Tables of the profiles."""
    profiles = [row for row in rows(parts, "profiles") if "where" in row["details"]]
    if not profiles:
        return
    yield "## Where the time goes\n"
    for row in profiles:
        found = row["details"]
        client, server = found["client_ms"], found["server_ms"]
        yield f"### {row['what'].removesuffix(', CPU').capitalize()}\n"
        yield (
            f"{client:.2f} ms of CPU in the worker, {server:.2f} ms in Postgres, {found['wall_ms']:.2f} ms by the"
            f" clock. The worker's part, from {found['samples']:,} samples:\n"
        )
        yield "| the worker's function | in | share | ms |"
        yield "|---|---|---:|---:|"
        for name, library, share in found["where"]:
            shown = name if " " in name else f"`{name.replace('.<locals>', '')}`"
            yield f"| {shown} | {library} | {share:.0%} | {share * client:.2f} |"
        yield ""


def sizes(parts: Found) -> Iterator[str]:
    """What an installation needs, from the figures."""
    yield "## Sizing\n"
    yield "| what | figure | from |"
    yield "|---|---:|---|"
    yield from _of_polls(parts)
    yield from _of_disk(parts)
    yield from _of_messages(parts)
    yield ""


def _of_polls(parts: Found) -> Iterator[str]:
    for row in rows(parts, "fleet"):
        used = row["details"].get("cpu_ms_per_poll")
        if used is None or row["must"] is not None:
            continue
        ours = {name: ms for name, ms in used.items() if name in OURS}
        total = sum(ours.values())
        listed = ", ".join(f"{name} {ms:.1f}" for name, ms in ours.items() if ms >= 0.05)  # noqa: PLR2004  # shown as 0.1
        yield f"| CPU of one idle poll with all that belongs to it | {total:.1f} ms | `fleet` at full speed: {listed} |"
        each = used["worker live"]
        yield f"| polls a second that keep one core of workers busy | {1000 / each:,.0f} | worker {each:.1f} ms |"
        yield (
            f"| accounts for each core of workers, polled every {INTERVAL} s, at half load |"
            f" {HALF * 1000 / each * INTERVAL:,.0f} | worker {each:.1f} ms |"
        )
        accounts = HALF * 1000 / total * INTERVAL
        yield (
            f"| accounts for each core of the whole machine, polled every {INTERVAL} s, at half load |"
            f" {accounts:,.0f} | {total:.1f} ms a poll |"
        )
        rate = row["value"]["median"]
        yield f"| most polls a second seen here, sandbox on the same cores | {rate:,.0f} | `fleet` |"


def _of_disk(parts: Found) -> Iterator[str]:
    for row in rows(parts, "profiles"):
        if "tables" in row["details"]:
            found = row["details"]["tables"]
            listed = ", ".join(f"{name} {size:,}" for name, size in found.items())
            yield f"| disk for each message, indexes included | {row['value']['median']:,.0f} B | {listed} |"
            yield f"| disk for a million messages | {row['value']['median'] / 1e3:,.1f} GB | 8 kB of JSON each |"


def _of_messages(parts: Found) -> Iterator[str]:
    for row in rows(parts, "store"):
        fresh = row["details"].get("fresh")
        if fresh is not None:
            client, postgres = fresh["client_us"], fresh["server_us"]
            shares = f"worker {client:,.0f}, Postgres {postgres:,.0f}"
            yield f"| CPU to store a new message | {client + postgres:,.0f} µs | {shares} |"
    for row in rows(parts, "memory")[:1]:
        yield f"| memory of a worker process | {row['value']['median']:,.0f} {row['unit']} | {row['what']} |"
