"""What the benchmark decides."""
