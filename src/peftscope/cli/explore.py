"""``peftscope explore``: studies in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli.output import show_warnings
from peftscope.errors import MissingExtra, SpecError

__all__ = ["explore"]

PORT, HOST = 8765, "127.0.0.1"


def explore(
    studies: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of results or study files; all studies in results where none is given."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_515, help="Port to listen on; the next free one where it is taken.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on: who can reach it can read the studies, and have memory counted and configs "
            "fetched with your access to the hub."
        ),
    ] = HOST,
    published: Annotated[
        bool,
        typer.Option("--published", help="Show the public benchmark's results, too; alone where no study is given."),
    ] = False,
    export_space: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --published: write it all as a page of files into DIR, and end."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Look at studies in the browser: explore all runs, compare methods, choose under limits. Ctrl-C ends it."""
    if export_space is not None:
        if (port, host, open_page) != (PORT, HOST, False):
            show_warnings(["--port, --host and --open do nothing beside --export-space"])
        _export(export_space, published=published, studies=studies or [])
        return
    with Console(stderr=True).status("starting"):
        try:
            from peftscope.web.server import app_of, free_port, serve
        except ModuleNotFoundError as error:
            raise MissingExtra(str(error.name), "web", "to show studies in the browser") from error
        from peftscope.web.studies import studies_in

        found = studies_in(studies or [], published=published)
        wanted, port = port, free_port(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/"

    if port != wanted:
        show_warnings([f"port {wanted} is taken; {port} instead"])

    def ready() -> None:
        names = ", ".join(study.name for study in found.values())
        Console(highlight=False).print(f"{names}: {address}  (Ctrl-C ends it)", markup=False, soft_wrap=True)
        if open_page and not webbrowser.open(address):
            show_warnings([f"no browser could be opened; the page is {address}"])

    with suppress(KeyboardInterrupt):  # the way to end it
        serve(app_of(found, host=host, published=published), host=host, port=port, ready=ready)


def _export(folder: Path, *, published: bool, studies: Sequence[Path]) -> None:
    """Write a Space.

    Raises:
        SpecError: It is asked for with something else than the published results.
    """
    if not published or studies:
        raise SpecError(
            "--export-space",
            ["writes what is published: give --published and no study; 'peftscope report' makes a page of a study"],
        )
    from peftscope.study.space import export_space

    with Console(stderr=True).status("writing"):
        size = export_space(folder)
    Console(highlight=False).print(
        f"wrote {folder}, {size / 1e6:.1f} MB: any web server gives it as it is, or a static Space",
        markup=False,
        soft_wrap=True,
    )
