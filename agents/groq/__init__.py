"""The adapter to Groq's API and compatible servers; the only package that imports groq."""
