"""What the ops package decides."""
