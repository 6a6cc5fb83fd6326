"""Every exception a user of peftscope can meet.

::

    PeftscopeError
    ├── SpecError            what the user wrote is wrong; carries every problem found, not the first
    ├── DataError            a data set, split or column is missing, empty or too long
    ├── ModelError           a base model cannot be found, loaded or hashed
    ├── MethodRefused     a method cannot run on this model or with these settings (status ``refused``)
    ├── Diverged             the loss became NaN, infinite or exploded (status ``diverged``)
    ├── Stopped              the user asked a run to end before its end (status ``killed``)
    ├── SplitSealed          the test split was asked for before a configuration is frozen (status ``error``)
    ├── StoreError           a folder is not writable, a disk is full, a record is unreadable
    ├── HubError             the Hugging Face hub refuses an upload, or cannot be reached
    ├── PlugInError          what another package added cannot be loaded, or does not keep its contract
    └── MissingExtra         an optional dependency is needed; names the extra to install

All of them carry a message that says where, what was given, what is allowed and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = [
    "DataError",
    "Diverged",
    "HubError",
    "MethodRefused",
    "MissingExtra",
    "ModelError",
    "PeftscopeError",
    "PlugInError",
    "SpecError",
    "SplitSealed",
    "Stopped",
    "StoreError",
    "brief",
    "unknown_name",
]


class PeftscopeError(Exception):
    """Root of the tree; catch it to catch every error meant for a user."""


class SpecError(PeftscopeError, ValueError):
    """What the user wrote is wrong.

    Args:
        source: The file or place the problems were found in.
        problems: One line per problem, each saying where, what was given and what is allowed.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  - {line}" for line in self.problems)]))

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.source, self.problems)


class DataError(PeftscopeError, ValueError):
    """A data set, split or column is missing, empty, unreadable or does not fit the limits."""


class ModelError(PeftscopeError, ValueError):
    """A base model cannot be found, loaded, quantized or hashed."""


class MethodRefused(PeftscopeError):
    """A method cannot run on this model or with these settings; the message is the reason."""


class Diverged(PeftscopeError):
    """Training stopped because its loss became NaN, infinite or exploded."""


class SplitSealed(PeftscopeError):
    """The test split was asked for in a trial, before its method's configuration is frozen."""


class Stopped(PeftscopeError):
    """The user asked a run to end before its end."""


class StoreError(PeftscopeError, OSError):
    """A folder is not writable, a disk is full, or a record cannot be read."""


class HubError(PeftscopeError):
    """The Hugging Face hub refuses an upload, or cannot be reached; the message says what to do."""


class PlugInError(PeftscopeError):
    """What another package added cannot be loaded, or does not keep its contract; the message names the package."""


class MissingExtra(PeftscopeError, ImportError):
    """An optional dependency is needed.

    Args:
        package: The package that could not be imported.
        extra: The extra of peftscope that installs it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.parts = (package, extra, purpose)
        super().__init__(f"{purpose} needs {package}: pip install 'peftscope[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return type(self), self.parts


def brief(text: str, most: int = 600) -> str:
    """A text that a message can hold: what is given may be of any length.

    >>> brief("a" * 100, 10)
    'aaaaaaaaa…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


SYNONYMS = {
    "lr": ("learning_rate", "learning_rates"),
    "learning_rate": ("learning_rates",),
    "rank": ("r",),
    "alpha": ("lora_alpha",),
    "speed": ("time",),
    "steps": ("max_steps",),
    "max_seq_length": ("max_length",),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
}
"""What others call a setting -> its names here, in which it is looked for."""


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> str:
    """One line for a name that does not exist: what was given, the nearest match, what is allowed.

    >>> unknown_name("task", "maths", ["math", "own-data"])
    "unknown task 'maths'; did you mean 'math'? Allowed: math, own-data"
    """
    names, given = sorted(allowed), brief(given, 60)
    near = [name for name in SYNONYMS.get(given.lower(), ()) if name in names]
    near = near or get_close_matches(given.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(names[:60]) + (f", … ({len(names)} in all)" if len(names) > 60 else "")
    return f"unknown {kind} {given!r}; {hint}Allowed: {shown}"
