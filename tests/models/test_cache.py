from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest

from peftscope.errors import StoreError
from peftscope.models.cache import build_once, cache_dir


def test_the_cache_folder_is_read_from_the_environment_at_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path / "one"))
    assert cache_dir() == tmp_path / "one"
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path / "two"))
    assert cache_dir() == tmp_path / "two"
    monkeypatch.delenv("PEFTSCOPE_CACHE")
    assert cache_dir().name == "peftscope"


def test_a_failed_build_leaves_no_usable_cache_entry(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "thing"

    def fail(place: Path) -> None:
        (place / "half").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        build_once(folder, fail)
    assert not folder.exists()
    assert not list(folder.parent.glob("*.tmp"))

    build_once(folder, lambda place: (place / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_concurrent_threads_build_a_cache_entry_only_once(tmp_path: Path) -> None:
    built = []

    def build(place: Path) -> None:
        built.append(place)
        time.sleep(0.2)
        (place / "whole").touch()

    threads = [threading.Thread(target=build_once, args=(tmp_path / "thing", build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (tmp_path / "thing" / "whole").exists()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def fill(place: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left.*PEFTSCOPE_CACHE"):
        build_once(tmp_path / "thing", fill)


def test_an_unusable_cache_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="PEFTSCOPE_CACHE"):
        build_once(tmp_path / "file" / "cache" / "thing", lambda place: None)
