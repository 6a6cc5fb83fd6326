"""What the statistics say of studies whose truth is known: coverage, false verdicts, power, what is recommended.

    python benchmarks/statistics.py          writes statistics.md beside this file; every core, some ten minutes
    python benchmarks/statistics.py 100      with 100 studies per cell, printed only

How studies are made stands in ``worlds.py``, what is asked of them in ``simulated.py`` and ``worlds_judged.py``. Parts
that are done lie in ``results/statistics-benchmark`` and are not done again; a change of the statistics needs an empty
folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _give_way() -> None:
    """Hand the name to the standard library: scripts beside this one find this file first when they import it."""
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]
    sys.modules.pop("statistics", None)
    sys.modules["statistics"] = __import__("statistics")
    sys.path.insert(0, str(HERE))


if __name__ in ("statistics", "__main__", "__mp_main__"):
    _give_way()

if __name__ == "__main__":
    import os

    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(threads, "1")  # a process a core is enough

    from statistics_table import main

    main()
