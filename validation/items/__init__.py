"""One module an item: `compute(quick) -> dict`, `visualize(data)`, `gates(data)`, `tables(data)`."""
