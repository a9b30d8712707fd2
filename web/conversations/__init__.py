"""The routes about conversations: what they are called, their messages, and taking them out."""
