"""The density: mesh, discretization, time integration, driver."""
