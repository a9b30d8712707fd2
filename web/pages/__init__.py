"""The pages for people, rendered here and usable without scripts."""
