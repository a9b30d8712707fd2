"""The numbered log of a job, and its readers."""
