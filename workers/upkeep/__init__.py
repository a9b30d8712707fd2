"""What keeps promises when nobody works on a job."""
