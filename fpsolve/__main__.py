"""`python -m fpsolve`: the command line."""

from __future__ import annotations

import sys

from fpsolve.cli import main

if __name__ == "__main__":
    sys.exit(main())
