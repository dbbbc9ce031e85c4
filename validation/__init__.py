"""Validation: every figure, claim and correction, computed and judged.

Run `python -m validation`.
"""
