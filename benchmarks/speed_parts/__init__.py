"""Parts of ``benchmarks/speed.py``: what is measured on each side, how it is compared, and the page."""
