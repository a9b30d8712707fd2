"""What the router's choices are worth, and weights fitted to that."""
