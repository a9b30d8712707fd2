"""The stub upstream: a local server that speaks Groq's protocol and misbehaves on request."""
