"""Who a caller is: registration, login, tokens."""
