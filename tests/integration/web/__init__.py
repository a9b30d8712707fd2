"""Tests of the web on real servers."""
