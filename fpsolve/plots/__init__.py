"""Pictures of results, in the paper's symbols. Figures are made without pyplot: no global state."""
