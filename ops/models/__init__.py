"""Language models for the embedded server, and servers that run already."""
