"""The routes of administrators: accounts and their plans, and who changed them."""
