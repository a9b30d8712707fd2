"""When an answer is used again: the response cache."""
