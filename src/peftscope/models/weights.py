"""Weight files of a checkpoint folder: which ones are loaded, and the hash over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from peftscope.errors import ModelError, StoreError
from peftscope.models.cache import cache_dir
from peftscope.store.files import write_text

__all__ = ["file_sha256", "hash_weights", "remembered_sha256", "require_whole", "shard_names", "weight_files"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def weight_files(folder: Path, source: str) -> tuple[Path, ...]:
    """The safetensors files ``transformers`` loads from a folder, sorted by name.

    Raises:
        ModelError: There are none (pickled checkpoints are refused: loading one can run any code in it),
            or the index names a file that is missing.
    """
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        names = shard_names(folder, source)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"model {source!r}: {INDEX} names {', '.join(missing)}, not in {folder}")
        return tuple(folder / name for name in names)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise ModelError(
            f"model {source!r} has pickled weights only ({', '.join(pickled[:3])}). Refused: loading a "
            "pickle can run any code hidden in it. Take a revision with safetensors, or convert "
            "a checkpoint you trust with save_pretrained()."
        )
    raise ModelError(f"model {source!r}: no {SINGLE} and no {INDEX} in {folder}")


def shard_names(folder: Path, source: str) -> tuple[str, ...]:
    """Names of the files a sharded checkpoint consists of, as its index lists them, sorted.

    Raises:
        ModelError: The index cannot be read, or names something that is not a safetensors file in its folder.
    """
    try:
        names = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model {source!r}: {folder / INDEX} is not a readable index: {error}") from error
    strange = [str(name) for name in names if Path(str(name)).name != name or not name.endswith(".safetensors")]
    if strange or not names:
        raise ModelError(
            f"model {source!r}: {INDEX} names {', '.join(sorted(strange)) or 'no file'}; "
            "allowed: *.safetensors in the same folder"
        )
    return tuple(sorted(names))


def require_whole(files: Sequence[Path], source: str) -> None:
    """Check that weight files hold what their headers promise; one that was cut off in a download does not.

    Raises:
        ModelError: One does not.
    """
    for path in files:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"model {source!r}: {path.name} is cut off or damaged ({error}); download it again"
            ) from error


def hash_weights(files: Sequence[Path]) -> str:
    """SHA-256 over names and contents of weight files, whatever their order and whatever lies beside them."""
    total = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        total.update(f"{path.name}\0{remembered_sha256(path)}\n".encode())
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered in the cache for as long as the file is not touched."""
    real = path.resolve()
    stat = real.stat()
    # The change time is there because a copied-back modification time would hide a changed content.
    key = f"{real}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_ino}"
    note = cache_dir() / "hashes" / f"{hashlib.sha256(key.encode()).hexdigest()}.txt"
    with suppress(OSError):
        known = note.read_text(encoding="ascii").strip()
        if len(known) == 64:
            return known
    digest = file_sha256(real)
    with suppress(OSError, StoreError):  # without a writable cache the file is only hashed again
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, digest + "\n")
    return digest
