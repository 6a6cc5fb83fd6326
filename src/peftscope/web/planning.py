"""Plans on the page: tables of well-known models, and of any model counted while the page waits.

What is asked is answered line by line. Counting is done by a process of its own, which is ended when the client goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from peftscope.errors import PeftscopeError, SpecError
from peftscope.study.plan_request import PlanRequest, read_plan_request
from peftscope.study.planned import plan_models_document, planned_document
from peftscope.views.documents import compact_text
from peftscope.web.counting import CountingProcess
from peftscope.web.json_requests import TooLarge, parse, read_body

__all__ = ["Planner"]

MOST_AT_ONCE = 2
TIME_LIMIT_S = 600
MOST_KEPT = 16
"""Answers in memory; the ones asked for longest ago go first."""
IDLE_S = 300
"""A process that was started ahead waits so long."""
DRAINED_BYTES, DRAINED_S = 8 * 2**20, 1.0
"""Of what is too large: read and thrown away, so that the client comes to read why it is refused."""
LINES = "application/x-ndjson"


class Planner:
    """Answers the page's questions for plans; an ASGI application for the live ones.

    Args:
        most: Plans counted at a time.
        time_limit_s: Seconds a plan may take.
        workers: Processes that count one; None takes two, or one on a single core.
    """

    def __init__(
        self, *, most: int = MOST_AT_ONCE, time_limit_s: float = TIME_LIMIT_S, workers: int | None = None
    ) -> None:
        self.most, self.time_limit_s = most, time_limit_s
        self.workers = workers or min(2, os.cpu_count() or 1)
        self._running: set[CountingProcess] = set()
        self._num_running = 0
        self._ahead: CountingProcess | None = None
        self._starting = asyncio.Lock()
        self._starts_ahead = False
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def routes(self) -> list[Route]:
        """Of a Starlette application, before those that take any name."""
        return [
            Route("/api/plan", self, methods=["POST"]),
            Route("/api/plan/models", self.models),
            Route("/api/plan/ahead", self.start_ahead),
            Route("/api/plan/{key}", self.known),
        ]

    async def models(self, request: Request) -> Response:
        """The models there are tables of."""
        return _json(plan_models_document())

    async def start_ahead(self, request: Request) -> Response:
        """Start a process that counts, since whoever has opened the plan may want it, and it takes seconds to come."""
        async with self._starting:  # one at a time, else a second would be started while the first is
            if self._starts_ahead and self._ahead is None:
                with suppress(OSError):
                    self._ahead = await CountingProcess.start(self.workers)
                    asyncio.get_running_loop().call_later(IDLE_S, self._forget, self._ahead)
        return Response(status_code=204)

    async def known(self, request: Request) -> Response:
        """The plan of one of them."""
        return _json(planned_document(request.path_params["key"]))

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """While the server runs processes may be started ahead; when it ends none is left."""
        self._starts_ahead = True
        yield
        self.stop()
        if self._ahead is not None:
            await self._ahead.end()

    def stop(self) -> None:
        """End every process that counts."""
        self._starts_ahead = False
        for process in [*self._running, *([] if self._ahead is None else [self._ahead])]:
            process.kill()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a plan."""
        request = Request(scope, receive)
        try:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise SpecError("request", ["its content-type has to be application/json"])
            asked = await run_in_threadpool(_read, await read_body(request))
        except ClientDisconnect:
            return
        except PeftscopeError as error:
            is_large = isinstance(error, TooLarge)
            await _refuse(send, 413 if is_large else 400, _problem(error), receive if is_large else None)
            return
        await _begin(send, 200)
        answering = asyncio.ensure_future(self._answer(asked, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                with suppress(OSError):  # the client went while a line was sent
                    answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, asked: PlanRequest, send: Send) -> None:
        text = json.dumps(asked.document()).encode()
        key = hashlib.sha256(text).hexdigest()
        if key in self._kept:
            self._kept.move_to_end(key)
            await _body(send, self._kept[key])
        elif self._num_running >= self.most:
            await _body(send, _error(f"{self.most} plans are being counted here; ask again when one of them is done"))
        else:
            self._num_running += 1
            try:
                problem = await self._count(text, key, send)
            finally:
                self._num_running -= 1
            await _body(send, problem)  # to a client that may read nothing: it keeps nobody waiting
        await _body(send, b"", more=False)

    async def _count(self, text: bytes, key: str, send: Send) -> bytes:
        """Send a plan's lines as they come, and keep them where it came to its end; else a last line is given."""
        starting = asyncio.ensure_future(self._process())
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:  # the client has gone before it was there
            starting.add_done_callback(_end_started)
            raise
        except OSError as error:
            return _error(f"no process that counts can be started: {error.strerror or error}")
        self._running.add(process)
        told = [b""]
        try:
            async with asyncio.timeout(self.time_limit_s):
                async for line in process.lines(text):
                    told.append(line)
                    await _body(send, line)
        except ValueError:  # a line that is longer than is read
            return _error("what was counted is too long to be told")
        except TimeoutError:
            return _error(f"counting took more than {self.time_limit_s / 60:g} minutes and was ended")
        finally:
            self._running.discard(process)
            await process.end()
        if told[-1].startswith(b'{"done"'):
            self._kept[key] = b"".join(told)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        elif not told[-1].startswith(b'{"error"'):
            return _error("the process that counts ended before it was done")
        return b""

    async def _process(self) -> CountingProcess:
        """The one that was started ahead, or a new one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.is_alive:
                return ahead
            await ahead.end()
        return await CountingProcess.start(self.workers)

    def _forget(self, process: CountingProcess) -> None:
        """End one that was started ahead and not asked for."""
        if self._ahead is process:
            self._ahead = None
            asyncio.ensure_future(process.end())  # noqa: RUF006  nobody waits for it


def _end_started(starting: asyncio.Future[CountingProcess]) -> None:
    """End a process that nobody waits for any more."""
    if not starting.cancelled() and starting.exception() is None:
        asyncio.ensure_future(starting.result().end())  # noqa: RUF006  nobody waits for it


def _read(body: bytes) -> PlanRequest:
    return read_plan_request(parse(body))


def _problem(error: PeftscopeError) -> bytes:
    return _error("; ".join(error.problems) if isinstance(error, SpecError) else str(error))


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}, ensure_ascii=False).encode() + b"\n"


def _json(document: dict[str, Any]) -> Response:
    return Response(compact_text(document), media_type="application/json")


async def _begin(send: Send, status: int, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", LINES.encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _body(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _refuse(send: Send, status: int, line: bytes, receive: Receive | None) -> None:
    """Say why and close the connection.

    Args:
        send: As the server gives it.
        status: Of the answer.
        line: What is wrong.
        receive: Where the client is still sending: some of it is thrown away, since a connection that is closed on
            it would take the answer along.
    """
    length = str(len(line)).encode()
    await _begin(send, status, (b"content-length", length), (b"connection", b"close"))
    await _body(send, line, more=receive is not None)
    if receive is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_S):
                await _drain(receive)
        await _body(send, b"", more=False)


async def _drain(receive: Receive) -> None:
    thrown = 0
    while thrown < DRAINED_BYTES:
        message = await receive()
        thrown += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
