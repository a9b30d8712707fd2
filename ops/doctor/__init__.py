"""What a deployment needs, checked one by one, each with a sentence about what is missing."""
