"""One solver or study over many problems, on one laptop or a cluster."""
