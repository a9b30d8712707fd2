"""Backups: one file that holds the record, and an empty machine that goes on from it."""
