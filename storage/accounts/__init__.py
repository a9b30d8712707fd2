"""Users, their sessions and the tokens they gave back."""
