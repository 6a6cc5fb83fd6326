"""What the statistics say of studies whose truth is known: coverage, false verdicts, power, what is recommended.

    python benchmarks/uncertainty.py writes uncertainty.md beside this file; every core, half an hour on two
    python benchmarks/uncertainty.py 100 with 100 studies per cell, printed only

How studies are made stands in ``worlds.py``, what is asked of them in ``simulated.py`` and ``worlds_judged.py``. Parts
that are done lie in ``results/uncertainty-benchmark`` and are not done again; a change of the statistics needs an empty
folder.
"""

from __future__ import annotations

if __name__ == "__main__":
    import os

    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(threads, "1")  # a process a core is enough

    from uncertainty_table import main

    main()
