"""Any separable McKean–Vlasov equation on a line, solved to a tolerance and kept in a file."""
