"""A job from its acceptance to its end, in Redis."""
