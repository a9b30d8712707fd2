"""What bounds the calls to a provider."""
