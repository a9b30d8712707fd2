"""The forms in which people write settings, as pure functions from text to values."""
