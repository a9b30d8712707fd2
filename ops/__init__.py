"""How Aether is run: one machine's stack under supervisor, and the command that drives it."""
