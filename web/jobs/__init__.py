"""Submitting, polling and streaming jobs."""
