"""What local worker processes need, imported once by the server they are forked from."""

import fpsolve.density.solve
import fpsolve.macro.closure
import fpsolve.macro.stationary
import fpsolve.sweeps.batch  # noqa: F401
