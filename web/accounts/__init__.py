"""Who a caller is: accounts, passwords, sessions and tokens."""
