"""What outlives a process: live jobs and limits in Redis, records and accounts in MongoDB."""
