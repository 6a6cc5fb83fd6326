"""The page in the package is what ``web/`` builds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from peftscope.views.report.page import bundle

ROOT = Path(__file__).parents[2]
FILES = ("page.js", "page.css")


def test_the_page_is_small() -> None:
    assert sum(len(bundle(name).encode()) for name in FILES) < 1_000_000


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    addresses = {part.split('"')[0].split("`")[0] for part in bundle("page.js").split("http")[1:]}
    assert {address for address in addresses if address.startswith(("://", "s://"))} <= {
        "://www.w3.org/2000/svg", "://www.w3.org/1999/xhtml", "://www.w3.org/1999/xlink", "://www.w3.org/2000/xmlns/",
        "://www.w3.org/XML/1998/namespace", "://www.w3.org/1998/Math/MathML",
    }  # fmt: skip


def test_no_lock_file_names_the_host_of_a_registry() -> None:
    assert "http" not in (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8").replace(
        '"url": "https://', ""
    ).replace('"url": "http://', "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: node brings it")
def test_the_committed_page_is_what_its_sources_build(tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(ROOT / "web", web, ignore=shutil.ignore_patterns("node_modules"))

    def run(*command: str) -> None:
        done = subprocess.run(command, check=False, cwd=web, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("npm", "ci", "--no-audit", "--no-fund")
    run("npm", "run", "check")
    run("node", "build.mjs", str(tmp_path / "built"))
    for name in FILES:
        built = (tmp_path / "built" / name).read_text(encoding="utf-8")
        assert built == bundle(name), f"{name} is not what web/ builds: 'make web' does it"
