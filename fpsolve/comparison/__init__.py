"""Densities against particles: distances, tests, and a verdict."""
