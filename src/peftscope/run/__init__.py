"""Executing one run, launching many."""
