"""`python -m benchmarks.shelf`: the sandbox with its mail made and packed beforehand, so that it takes little CPU.

An answer is put together from parts that were deflated once: what the sandbox does per page would else take from the
two cores that the worker and Postgres are measured on. Generated messages get bodies of `benchmarks.mail`.
`--delay SECONDS` comes before each answer of the API; everything else is as `python -m worker.sandbox` has it.
"""

import argparse
import email
import sys
import zlib
from email import policy
from typing import Any

import psutil
from isal import isal_zlib

from benchmarks.mail import NEWEST, Writer
from worker.sandbox import __main__ as command
from worker.sandbox import admin, asgi, render, server, wire
from worker.sandbox.account import Account
from worker.sandbox.options import SandboxOptions
from worker.sandbox.wire import Call, Reply
from worker.sandbox.world import World

BODIES = 500
"""Different bodies; messages share them."""
HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
END = b"\x03\x00"


def deflated(plain: bytes) -> bytes:
    """Deflate to whole bytes, with no reference to what stands before: such parts can be put one behind another."""
    packer = isal_zlib.compressobj(3, wbits=-zlib.MAX_WBITS)
    return bytes(packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH))


class Shelved(bytes):
    """A message as JSON, with the same packed."""

    packed: bytes


class Page(bytes):
    """A page in parts, plain and packed; it is empty itself, for our client takes it packed and it need not be made."""

    plain: list[bytes]
    packed: list[bytes]


def page_body(objects: list[bytes], page: object, next_page: str | None) -> bytes:
    """As in the sandbox."""
    head = wire.encode({"count": len(objects), "page": page, "next_page": next_page})[:-1] + b',"objects":['
    tail = b'],"type":"object_list","api":"email"}'
    made = Page()
    made.plain = [head, *[part for one in objects for part in (b",", one)][1:], tail]
    between = [part for one in objects for part in (COMMA, one.packed if isinstance(one, Shelved) else deflated(one))]
    made.packed = [deflated(head), *between[1:], deflated(tail)]
    return made


def pack(body: bytes) -> bytes:
    """As in the sandbox: gzip."""
    if not isinstance(body, Page):
        return bytes(PACK(body))
    check = size = 0
    for part in body.plain:
        check, size = isal_zlib.crc32(part, check), size + len(part)
    return b"".join((HEAD, *body.packed, END, check.to_bytes(4, "little"), size.to_bytes(4, "little")))


COMMA = deflated(b",")
PACK = wire.pack


class Shelf(World):
    """A world whose messages are all made at the start."""

    def __init__(self, options: SandboxOptions) -> None:
        """Lay out the accounts and make every message."""
        self._bodies = bodies()
        self._made: dict[tuple[int, ...], Shelved] = {}
        super().__init__(options)
        for account in self.accounts.values():
            for serial in range(len(account.mailbox)):
                self.fragment(account, serial)

    def fragment(self, account: Account, serial: int) -> bytes:
        """Return a message as JSON."""
        key = (account.id, serial, account.mailbox.revision(serial), account.catalog.revision)
        found = self._made.get(key)
        if found is None:
            plain, packed = self._bodies[serial % len(self._bodies)]
            shown = render.message(account, serial, self.switches_of(account))
            del shown["body"], shown["text_body"]
            head = wire.encode(shown)[:-1]
            found = self._made[key] = Shelved(head + plain)
            found.packed = deflated(head) + packed
        return found


def bodies() -> list[tuple[bytes, bytes]]:
    """The ends of messages as JSON, from the bodies on, each with its packed form."""
    writer = Writer()
    made = []
    for number in range(BODIES):
        mail = email.message_from_string(writer.message(number, NEWEST), policy=policy.default)
        found = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        plain = b"," + wire.encode({"text_body": found["text/plain"], "body": found["text/html"]})[1:]
        made.append((plain, deflated(plain)))
    return made


class Late(asgi.Application):
    """Answers after a while, as a distant service does."""

    delay = 0.0

    async def _write(self, call: Call, answer: Reply, scope: Any, receive: Any, send: Any) -> None:
        if self.delay and not call.path.startswith(admin.PREFIX):
            answer.wire["delay"] = self.delay
        await super()._write(call, answer, scope, receive, send)


def process() -> psutil.Process:
    """The process that this one has started as a shelf."""
    return next(child for child in psutil.Process().children() if "benchmarks.shelf" in child.cmdline())


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shelf", description=__doc__, add_help=False)
    parser.add_argument("--delay", type=float, default=0.0)
    given, rest = parser.parse_known_args()
    Late.delay = given.delay
    wire.page_body, wire.pack = page_body, pack
    sandbox: Any = server  # whose server takes no other world and application
    sandbox.World, sandbox.Application = Shelf, Late
    return command.main(rest)


if __name__ == "__main__":
    sys.exit(main())
