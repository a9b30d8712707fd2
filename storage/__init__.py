"""What outlives a process: live jobs in Redis, records in MongoDB."""
