"""Questions asked of the solvers: error of the closure, best range, events in a curve."""
