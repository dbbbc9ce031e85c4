"""The particles: the STE itself, the limiting particle system, and their comparison with the density."""
