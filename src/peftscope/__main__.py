"""``python -m peftscope``: the command line."""

from peftscope.cli import main

if __name__ == "__main__":
    main()
