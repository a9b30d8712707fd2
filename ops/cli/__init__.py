"""The aether command."""
