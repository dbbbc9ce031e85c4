"""Where a run puts what it reaches: memory or a growing file, behind one interface."""
