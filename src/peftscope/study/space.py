"""The page as a folder of files that any web server gives, such as a static Space: published results, shop, planner."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peftscope
from peftscope.errors import SpecError
from peftscope.store.files import ensure_folder, write_text
from peftscope.store.local_paths import without_local_paths
from peftscope.study.documents import StudyDocuments, index_document
from peftscope.study.planned import plan_models_document, planned_document
from peftscope.study.published import published_places
from peftscope.study.releases import releases_document
from peftscope.study.shop import shop_document
from peftscope.views.documents import compact_text
from peftscope.views.report.page import SERVED_POLICY, bundle, shell

__all__ = ["export_space", "space_files"]

DOCUMENTS = "documents"
"""Folder of what the page fetches."""
MARK = f"{DOCUMENTS}/index.json"
"""The file by which a folder is known as one that was written here."""
TITLE = "PEFT methods compared"
README = """\
---
title: {title}
emoji: ⚖️
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
---

Results of the public PEFT benchmark in two releases, what repetition is worth, every method with what it can do, and
the memory it takes on well-known models. Written by
`peftscope explore --published --export-space`, peftscope {version}.

{credit}
"""


def export_space(folder: Path) -> int:
    """Write the page and its documents into a folder, over what an earlier export left there; gives their bytes.

    Args:
        folder: New, empty, or one of an earlier export.

    Raises:
        SpecError: The folder holds something else.
        StoreError: It is not writable or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise SpecError(str(folder), ["holds something else; give a new folder, or one of an earlier export"])
    size, kept = 0, set()
    for name, text in space_files():
        place = folder / name
        ensure_folder(place.parent)
        write_text(place, text)
        size += len(text.encode())
        kept.add(place)
    for stale in set((folder / DOCUMENTS).rglob("*.json")) - kept:
        stale.unlink()
    return size


def space_files() -> Iterator[tuple[str, str]]:
    """Names of files and their texts, the page's own first."""
    studies = {study.key: study for study in map(StudyDocuments, published_places())}
    index = {**index_document(studies, live=False, published=True), "folder": DOCUMENTS}
    releases, models = releases_document(), plan_models_document()
    yield MARK, _text(index)  # first, so that an export that is interrupted can be made again
    script, style = bundle("page.js"), bundle("page.css")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(SERVED_POLICY)}">'
        f'<link rel="stylesheet" href="page.css?{_stamp(style)}"><link rel="icon" href="data:,">'
    )
    told = f'<script src="page.js?{_stamp(script)}"></script>'
    source = releases["source"]
    credit = f"Results: {source['name']} ({source['license']}), {source['address_text']}."
    yield "index.html", shell(f"{TITLE} · peftscope", {"index": index}, head=head, script=told, plain=[credit])
    yield "page.js", script
    yield "page.css", style
    yield "README.md", README.format(title=TITLE, version=peftscope.__version__, credit=credit)
    general = {"releases": releases, "shop": shop_document(), "plan/models": models}
    plans = {f"plan/{model['key']}": planned_document(model["key"]) for model in models["models"]}
    for name, document in {**general, **plans}.items():
        yield _file(name), _text(document)
    for key, study in studies.items():
        runs = study.runs()
        yield _file(f"{key}/runs"), _text(runs)
        yield _file(f"{key}/study"), _text(study.study())
        for row in runs["rows"]:
            yield _file(f"{key}/run/{row['id']}"), _text(study.run(row["id"]))


def _file(name: str) -> str:
    return f"{DOCUMENTS}/{name}.json"


def _text(document: Any) -> str:
    return compact_text(without_local_paths(document))


def _stamp(text: str) -> str:
    """What changes with a file, so that no browser takes an old one for it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
