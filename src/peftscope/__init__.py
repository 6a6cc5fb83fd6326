"""Find the PEFT method that is best for your model, your data and your limits.

>>> import peftscope as ps
>>> study = ps.Study(name="first", model="builtin:nano-lm", task="math", methods=["lora", "oft"])
>>> study
Study('first', folder='results/first')

``study.run()`` trains and scores every method under the same conditions; ``study.recommend()`` says which to take.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peftscope.errors import PeftscopeError
    from peftscope.study.functions import import_results, methods, predict_memory, run_experiment
    from peftscope.study.study import Study

__version__ = "0.1.0"

__all__ = [
    "PeftscopeError",
    "Study",
    "__version__",
    "import_results",
    "methods",
    "predict_memory",
    "run_experiment",
]

_PLACES = {
    "PeftscopeError": "peftscope.errors",
    "Study": "peftscope.study.study",
    **dict.fromkeys(("import_results", "methods", "predict_memory", "run_experiment"), "peftscope.study.functions"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: importing the package itself costs milliseconds."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
