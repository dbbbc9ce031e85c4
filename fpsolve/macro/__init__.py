"""The macroscopic state: closure, fixed points, stationary states and what follows from them."""
