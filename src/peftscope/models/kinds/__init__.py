"""Kinds of base models, behind one contract."""
