"""Telling receivers that jobs have ended."""
