"""The worker process: reads tasks from its input, writes what they yield to its output.

`python -m fpsolve.explorer.worker`. A process, not a thread: it can be stopped in mid-solve.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

from fpsolve.errors import FpsolveError, ParameterError
from fpsolve.explorer.results import TASKS

__all__ = ["DONE", "PART", "REFUSED", "main", "serve"]

# What a message says: a result, an error of the library, the end of a task.
PART, REFUSED, DONE = "part", "refused", "done"


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Carry out tasks (name, arguments) until `source` ends, or nobody listens any more."""
    while True:
        try:
            name, arguments = pickle.load(source)
        except EOFError:
            return
        try:
            for part in TASKS[name](*arguments):
                _send(sink, (PART, part))
        except BrokenPipeError:
            return
        except FpsolveError as error:
            field = error.field if isinstance(error, ParameterError) else ""
            _send(sink, (REFUSED, (field, " ".join(str(error).split()))))
        except Exception as error:
            _send(sink, (REFUSED, ("", f"a defect of fpsolve, {type(error).__name__}: {error}")))
        _send(sink, (DONE, None))


def _send(sink: BinaryIO, message: object) -> None:
    pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
    sink.flush()


def main() -> None:
    """Serve the parent on a copy of standard output; whatever else prints goes to the errors."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
