"""One module an item: `compute(quick)`, `visualize(data)`, `gates(data)`, `tables(data)`."""
