"""Who may ask, and what a page may do: a study holds people's data, and any web page can send requests to this machine.

Requests are answered for the hosts that the server is known by, so that a foreign name which resolves to this machine
(DNS rebinding) gets nothing, and none that another origin sends. What makes this machine work takes a request that only
the page itself can send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from peftscope.views.report.page import SERVED_POLICY

__all__ = ["LOCAL", "Guard"]

LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that mean every one of the machine's."""
POSTED = ("/api/plan",)
"""What takes more than GET: the page's own scripts say whence they ask."""
HEADERS = {
    "content-security-policy": f"{SERVED_POLICY}; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Middleware that refuses foreign hosts and origins, and sends what browsers are to keep to.

    Args:
        app: What answers.
        host: Address the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.hosts: Collection[str] = {*LOCAL, host.lower()}
        self.any_address = host in EVERYWHERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self._problem(Headers(scope=scope), scope["method"], scope["path"])
        if problem is not None:
            await PlainTextResponse(problem, status_code=403)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, with_headers)

    def _problem(self, headers: Headers, method: str, path: str) -> str | None:
        is_posted = method == "POST" and path in POSTED
        if method not in ("GET", "HEAD") and not is_posted:
            return "nothing here takes anything but GET"
        host = headers.get("host", "")
        if not self._is_known(_name(host)):
            return f"this server is not known as {_name(host)[:100]!r}"
        origin = headers.get("origin")
        if (is_posted and origin is None) or (origin is not None and _place(origin) != host.lower()):
            return "another page asked"
        if is_posted and headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return "another page asked"
        followed = path == "/" and headers.get("sec-fetch-mode") == "navigate" and origin is None  # a link to the page
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not followed:
            return "another page asked"
        return None

    def _is_known(self, name: str) -> bool:
        return name in self.hosts or (self.any_address and _is_address(name))


def _name(host: str) -> str:
    """A host's name without its port.

    >>> _name("[::1]:8000"), _name("localhost:80"), _name("evil.example")
    ('::1', 'localhost', 'evil.example')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
