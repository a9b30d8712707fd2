"""What bounds calls to a provider."""
