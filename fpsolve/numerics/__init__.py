"""Separable McKean–Vlasov equations on a line, integrated to a stated tolerance."""
