"""The particles: the STE itself, the limiting particles, and their comparison with the density."""
