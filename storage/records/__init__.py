"""Jobs in MongoDB, and the way they get there."""
