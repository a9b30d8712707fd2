"""Several agents on one job, and their synthesis."""
