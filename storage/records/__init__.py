"""What MongoDB keeps of jobs."""
