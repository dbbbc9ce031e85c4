"""A process of its own that reads a file to its end: `python -m fpsolve.recording.probe FILE N`."""

from __future__ import annotations

import sys

from fpsolve.recording.reading import check_file

__all__ = ["main"]


def main(path: str, memory: str) -> int:
    """Read `path` with at most `memory` bytes; print what is wrong and return 1, or return 0."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # No such limits on this system; the time is bounded all the same.
    try:
        wrong = check_file(path)
    except MemoryError:
        wrong = "is damaged: reading it takes too much memory"
    if wrong:
        sys.stdout.write(wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
