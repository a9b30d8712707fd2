"""Users, their sessions and their revoked tokens."""
