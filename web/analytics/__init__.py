"""The routes about what was used: by users of their own jobs, by administrators of everybody's."""
