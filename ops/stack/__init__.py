"""The local stack: which programs there are, how they start, and what they know of each other."""
