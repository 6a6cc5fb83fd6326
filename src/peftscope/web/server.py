"""The explorer's server: the page, and documents of the studies it was given; it reads nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from threading import Thread
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
from peftscope.web.studies import Kept, Once, newest_published

__all__ = ["app_of", "free_port", "serve"]

JSON = "application/json"
HEAD = '<link rel="stylesheet" href="page.css"><link rel="icon" href="data:,">'
SCRIPT = '<script src="page.js"></script>'


def app_of(studies: Mapping[str, StudyDocuments], *, host: str = "127.0.0.1", published: bool = False) -> Starlette:
    """The application.

    Args:
        studies: By the key that stands in addresses.
        host: Address it will listen on.
        published: Whether the releases of the public benchmark are compared; its newest results are then judged from
            the start, in the background.
    """
    kept = {key: Kept(study) for key, study in studies.items()}
    between_releases, of_methods = Once(releases_document), Once(shop_document)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        newest = newest_published(studies) if published else None
        if newest is not None:
            Thread(target=_judge, args=(kept[newest],), daemon=True).start()
        yield

    def index() -> dict[str, Any]:
        return index_document(studies, live=True, published=published)

    def page(request: Request) -> Response:
        return HTMLResponse(shell("peftscope", {"index": index()}, head=HEAD, script=SCRIPT))

    def script(request: Request) -> Response:
        return Response(bundle("page.js"), media_type="text/javascript")

    def style(request: Request) -> Response:
        return Response(bundle("page.css"), media_type="text/css")

    def listed(request: Request) -> Response:
        return Response(json.dumps(index()), media_type=JSON)

    def releases(request: Request) -> Response:
        if not published:
            raise SpecError("releases", ["start 'peftscope explore --published' to compare releases"])
        return Response(between_releases.get(), media_type=JSON)

    def shop(request: Request) -> Response:
        return Response(of_methods.get(), media_type=JSON)

    def document(request: Request) -> Response:
        study, name = _asked(request)
        if name == "state":
            return Response(json.dumps({"state": study.study.state()}), media_type=JSON)
        make = {"runs": study.study.runs, "study": study.study.study}
        if name not in make:
            raise SpecError(name, ["no such document"])
        return Response(study.get(name, make[name]), media_type=JSON)

    def run(request: Request) -> Response:
        study, _ = _asked(request)
        run_id = request.path_params["run"]
        return Response(study.get(f"run/{run_id}", lambda: study.study.run(run_id)), media_type=JSON)

    def choose(request: Request) -> Response:
        study, _ = _asked(request)
        given = dict(request.query_params)
        return Response(
            study.get(f"choose?{sorted(given.items())}", lambda: study.study.choose(given)), media_type=JSON
        )

    def _asked(request: Request) -> tuple[Kept, str]:
        key = request.path_params["study"]
        if key not in kept:
            raise SpecError(key, ["no such study"])
        return kept[key], request.path_params.get("name", "")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page.js", script),
            Route("/page.css", style),
            Route("/api/index", listed),
            Route("/api/releases", releases),
            Route("/api/shop", shop),
            Route("/api/{study}/choose", choose),
            Route("/api/{study}/run/{run}", run),
            Route("/api/{study}/{name}", document),
        ],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={PeftscopeError: _problem},
        lifespan=lifespan,
    )


def _judge(kept: Kept) -> None:
    """Make the document that takes longest before it is asked for; who asks is told what is wrong."""
    with suppress(PeftscopeError):
        kept.get("study", kept.study.study)


def _problem(request: Request, error: Exception) -> Response:
    """What is wrong, in a sentence."""
    return Response(json.dumps({"error": {"message": str(error)}}), status_code=404, media_type=JSON)


def serve(app: Starlette, *, host: str, port: int, ready: Callable[[], None]) -> None:
    """Answer until interrupted; ``ready`` is called once the port is open."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

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
