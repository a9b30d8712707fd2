"""The routes about webhooks: their secret, what was delivered, and sending it again."""
