"""A hub on this machine: the few endpoints an upload needs, and what it was sent."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

__all__ = ["TOKEN", "Hub", "pretend_hub"]

TOKEN = "hf_pretended"


@dataclass
class Hub:
    """Repositories by name, each with its files; large files are sent apart, as the hub has it."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    """Paths that were set or taken away, commit by commit."""
    refused: dict[str, int] = field(default_factory=dict)
    """Part of an address -> status it answers with."""
    keeps_large_files_apart: bool = True

    def holds(self, repository: str, folder: Path) -> bool:
        """Whether a repository has the files of a folder, byte by byte, and no other."""
        return self.repositories[repository] == {path.name: path.read_bytes() for path in folder.iterdir()}


def _oid(name: str, content: bytes, *, large: bool) -> str:
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _handle(self) -> None:
        hub, path, body = self.hub, urlsplit(self.path).path, self._body()
        hub.requests.append(f"{self.command} {path}")
        refused = next((status for part, status in hub.refused.items() if part in path), None)
        if refused is not None:
            self._answer(refused, {"error": "refused, as it was told to"})
        elif path.startswith("/objects/"):
            hub.objects[path.rpartition("/")[2]] = body
            self._answer(200, {})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid credentials"})
        else:
            self._answer(*self._of_hub(path, body))

    do_GET = do_POST = do_PUT = _handle

    def _of_hub(self, path: str, body: bytes) -> tuple[int, Any]:
        hub = self.hub
        if path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.repositories:
                return 409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"}
            hub.repositories[name] = {}
            hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            return 200, {"url": f"{hub.url}/{name}"}
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return 200, {"objects": [self._upload(each) for each in json.loads(body)["objects"]]}
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(\w+)/.*)?", path)
        if match is None or match[1] not in hub.repositories:
            return 404, {"error": "Repository not found"}
        return getattr(self, f"_{match[2] or 'revision'}")(match[1], body)  # type: ignore[no-any-return]

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = asked["oid"] in self.hub.objects
        href = {"upload": {"href": f"{self.hub.url}/objects/{asked['oid']}"}}
        return {"oid": asked["oid"], "size": asked["size"], **({} if known else {"actions": href})}

    def _revision(self, name: str, body: bytes) -> tuple[int, Any]:
        return 200, {"id": name, "sha": f"{len(self.hub.commits):040x}", "private": self.hub.private[name]}

    def _tree(self, name: str, body: bytes) -> tuple[int, Any]:
        files = self.hub.repositories[name]
        return 200, [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in files.items()]

    def _is_large(self, path: str) -> bool:
        return self.hub.keeps_large_files_apart and path.endswith((".safetensors", ".png", ".gguf"))

    def _preupload(self, name: str, body: bytes) -> tuple[int, Any]:
        files = self.hub.repositories[name]
        told = []
        for asked in json.loads(body)["files"]:
            path = asked["path"]
            large = self._is_large(path)
            there = {"oid": _oid(path, files[path], large=large)} if path in files else {}
            mode = "lfs" if large else "regular"
            told.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **there})
        return 200, {"files": told}

    def _commit(self, name: str, body: bytes) -> tuple[int, Any]:
        files, changed = self.hub.repositories[name], []
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            changed += [value["path"]] if "path" in value else []
        self.hub.commits.append(sorted(changed))
        oid = f"{len(self.hub.commits):040x}"
        return 200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid}


@contextmanager
def pretend_hub() -> Iterator[Hub]:
    """A hub that listens until the context ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
