"""The numbered log of a job, and who listens to it."""
