"""How fast fpsolve is, beside what one would otherwise write."""
