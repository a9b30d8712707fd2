"""Jobs in Redis, from acceptance to their end."""
