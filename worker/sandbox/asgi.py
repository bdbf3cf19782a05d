"""The server's side of the wire: ASGI in, bytes out, with all the ways bytes can go wrong."""

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import admin, churn, times, wire
from .gateway import Gateway
from .wire import Call, Reply
from .world import World

_NO_CONTENT = 204
_BOMB_CHUNK = 1 << 20
_RESET = struct.pack("ii", 1, 0)


class Protocol(HttpToolsProtocol):
    """Show the transport to the application, which may have to cut it."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class Application:
    """Serve the API under /v1 and the admin API under /__admin."""

    def __init__(self, world: World) -> None:
        """Take the world to serve."""
        self.world = world
        self.gateway = Gateway(world)
        self._live: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        call = await _read(scope, receive)
        to_admin = call.path.startswith(admin.PREFIX)
        answer = admin.answer(self.world, call) if to_admin else self.gateway.answer(call)
        await self._write(call, answer, scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self.world.options.live > 0:
                    self._live = asyncio.create_task(churn.keep_changing(self.world))
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._live is not None:
                    self._live.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await self._live
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _write(self, call: Call, answer: Reply, scope: Any, receive: Any, send: Any) -> None:
        how = answer.wire
        if "delay" in how:
            await asyncio.sleep(how["delay"])
        headers = self._headers(call, answer)
        if "unframed" in how or "reset" in how:
            await _cut(answer, headers, scope["state"]["transport"], receive)
            return
        body = answer.packed if answer.packed is not None else answer.body
        if "chunked" not in how and "bomb" not in how and answer.stream is None:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if "body_delay" in how:
            await asyncio.sleep(how["body_delay"])
        async for chunk in _chunks(answer, body):
            if scope["state"]["transport"].is_closing():
                return  # nobody listens any more
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _headers(self, call: Call, answer: Reply) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer; packs the body if the client takes it."""
        how = answer.wire
        if "bomb" in how:
            answer.packed = b""
        elif not how or how.keys() & {"drip", "body_delay", "delay", "date"}:
            wire.pack_reply(call, answer)
        headers = [(key.lower(), value) for key, value in answer.headers]
        if answer.status != _NO_CONTENT:
            headers.append(("content-type", answer.content_type))
        if answer.packed is not None:
            headers.append(("content-encoding", "gzip"))
        date = how.get("date", times.http_date(self.world.clock.now()))
        if date is not None:
            headers.append(("date", date))
        return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers]


async def _read(scope: Any, receive: Any) -> Call:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Call(0, scope["method"], scope["path"], query, headers, body)


async def _chunks(answer: Reply, body: bytes) -> AsyncIterator[bytes]:
    """Yield a body whole, as a stream, drop by drop, or as a bomb."""
    how = answer.wire
    if answer.stream is not None:
        async for chunk in answer.stream:
            yield chunk
    elif "bomb" in how:
        async for chunk in _bomb(how["bomb"]):
            yield chunk
    elif "drip" in how:
        size, seconds = how["drip"]
        for start in range(0, len(body), size):
            yield body[start : start + size]
            await asyncio.sleep(seconds)
    elif body:
        yield body


async def _bomb(size: int) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    yield packer.compress(b'{"count":0,"page":1,"next_page":null,"objects":[],"filler":"')
    for _ in range(0, size, _BOMB_CHUNK):
        yield packer.compress(b"a" * _BOMB_CHUNK)
        await asyncio.sleep(0)
    yield packer.compress(b'"}') + packer.flush()


async def _cut(answer: Reply, headers: list[tuple[bytes, bytes]], transport: Any, receive: Any) -> None:
    """Write past the server: a body without framing, or a part of one and then a reset."""
    reset = answer.wire.get("reset")
    if transport.is_closing():
        return  # the client gave up meanwhile
    if reset is None or reset > 0:
        head = b"HTTP/1.1 %d X\r\n" % answer.status
        head += b"".join(key + b": " + value + b"\r\n" for key, value in headers)
        if reset is not None:
            head += b"content-length: %d\r\n" % len(answer.body)
        transport.write(head + b"connection: close\r\n\r\n" + answer.body[: reset or None])
    if reset is None:
        transport.close()
    else:
        if reset:
            await asyncio.sleep(0.05)
        raw = transport.get_extra_info("socket")
        if raw is not None and not transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
