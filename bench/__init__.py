"""Load and side-by-side benchmarks; nothing here is a test."""
