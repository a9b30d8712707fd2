"""Faults on purpose, under load: what a stack promises, tried on a stack that runs."""
