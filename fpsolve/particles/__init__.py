"""The particles: the STE itself, the limiting particles."""
