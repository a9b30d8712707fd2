"""When an answer is used again."""
