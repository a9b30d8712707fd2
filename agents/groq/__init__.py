"""Groq's API and every server that speaks its protocol; the only package that imports groq."""
