"""The explorer's server: the page, and documents of the studies it was given; it reads nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from threading import Thread
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from peftscope.errors import PeftscopeError, SpecError
from peftscope.study.documents import StudyDocuments, index_document
from peftscope.study.releases import releases_document
from peftscope.study.shop import shop_document
from peftscope.views.report.page import bundle, shell
from peftscope.web.guard import Guard
from peftscope.web.planning import Planner
from peftscope.web.studies import Kept, Once, newest_published

__all__ = ["app_of", "free_port", "serve"]

JSON = "application/json"
HEAD = '<link rel="stylesheet" href="page.css"><link rel="icon" href="data:,">'
SCRIPT = '<script src="page.js"></script>'


class _Answers:
    """What is answered to whom: the page, and its documents as JSON."""

    def __init__(self, studies: Mapping[str, StudyDocuments], *, published: bool) -> None:
        self.studies, self.published = studies, published
        self._kept = {key: Kept(study) for key, study in studies.items()}
        self._between_releases, self._of_methods = Once(releases_document), Once(shop_document)

    def routes(self) -> list[Route]:
        """The page's own, then what belongs to no study."""
        return [
            Route("/", self.page),
            Route("/page.js", self.script),
            Route("/page.css", self.style),
            Route("/api/index", self.index),
            Route("/api/releases", self.releases),
            Route("/api/shop", self.shop),
        ]

    def routes_of_studies(self) -> list[Route]:
        """Those that take any name, and so come last."""
        return [
            Route("/api/{study}/choose", self.choose),
            Route("/api/{study}/run/{run}", self.run),
            Route("/api/{study}/{name}", self.document),
        ]

    def begin(self) -> None:
        """Have the newest published results judged before they are asked for; who asks is told what is wrong."""
        newest = newest_published(self.studies) if self.published else None
        if newest is not None:
            Thread(target=_judge, args=(self._kept[newest],), daemon=True).start()

    def page(self, request: Request) -> Response:
        return HTMLResponse(shell("peftscope", {"index": self._index()}, head=HEAD, script=SCRIPT))

    def script(self, request: Request) -> Response:
        return Response(bundle("page.js"), media_type="text/javascript")

    def style(self, request: Request) -> Response:
        return Response(bundle("page.css"), media_type="text/css")

    def index(self, request: Request) -> Response:
        return Response(json.dumps(self._index()), media_type=JSON)

    def releases(self, request: Request) -> Response:
        if not self.published:
            raise SpecError("releases", ["start 'peftscope explore --published' to compare releases"])
        return Response(self._between_releases.get(), media_type=JSON)

    def shop(self, request: Request) -> Response:
        return Response(self._of_methods.get(), media_type=JSON)

    def document(self, request: Request) -> Response:
        kept, name = self._asked(request), request.path_params["name"]
        if name == "state":
            return Response(json.dumps({"state": kept.study.state()}), media_type=JSON)
        make = {"runs": kept.study.runs, "study": kept.study.study}
        if name not in make:
            raise SpecError(name, ["no such document"])
        return Response(kept.get(name, make[name]), media_type=JSON)

    def run(self, request: Request) -> Response:
        kept, run_id = self._asked(request), request.path_params["run"]
        return Response(kept.get(f"run/{run_id}", lambda: kept.study.run(run_id)), media_type=JSON)

    def choose(self, request: Request) -> Response:
        kept, given = self._asked(request), dict(request.query_params)
        made = kept.get(f"choose?{sorted(given.items())}", lambda: kept.study.choose(given))
        return Response(made, media_type=JSON)

    def _asked(self, request: Request) -> Kept:
        key = request.path_params["study"]
        if key not in self._kept:
            raise SpecError(key, ["no such study"])
        return self._kept[key]

    def _index(self) -> dict[str, Any]:
        return index_document(self.studies, live=True, published=self.published)


def app_of(studies: Mapping[str, StudyDocuments], *, host: str = "127.0.0.1", published: bool = False) -> Starlette:
    """The application.

    Args:
        studies: By the key that stands in addresses.
        host: Address it will listen on.
        published: Whether the releases of the public benchmark are compared; its newest results are then judged from
            the start, in the background.
    """
    answers, planner = _Answers(studies, published=published), Planner()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        answers.begin()
        async with planner.lifespan(app):
            yield

    app = Starlette(
        routes=[*answers.routes(), *planner.routes(), *answers.routes_of_studies()],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={PeftscopeError: _problem},
        lifespan=lifespan,
    )
    app.state.planner = planner
    return app


def _judge(kept: Kept) -> None:
    """Make the document that takes longest."""
    with suppress(PeftscopeError):
        kept.get("study", kept.study.study)


def _problem(request: Request, error: Exception) -> Response:
    """What is wrong, in a sentence."""
    said = f"{error.source}: {'; '.join(error.problems)}" if isinstance(error, SpecError) else str(error)
    return Response(json.dumps({"error": {"message": said}}), status_code=404, media_type=JSON)


def serve(app: Starlette, *, host: str, port: int, ready: Callable[[], None]) -> None:
    """Answer until interrupted; ``ready`` is called once the port is open."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.planner.stop()  # else it would wait until all is counted
            if self.should_exit:  # asked again: end without waiting for open connections
                self.force_exit = True
            else:
                super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            if self.force_exit:
                await self.lifespan.shutdown()  # left out above, and the application's end would print a traceback

    Server(uvicorn.Config(app, host=host, port=port, log_level="warning")).run()


def free_port(host: str, wanted: int, *, tries: int = 20) -> int:
    """The port wanted, or the next one that is free.

    Raises:
        SpecError: There is none, or the address is none of this machine's.
    """
    for port in range(wanted, wanted + tries):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                problem = error
            else:
                return port
    raise SpecError("explore", [f"cannot listen on {host}, ports {wanted} to {wanted + tries - 1}: {problem.strerror}"])
