"""Tests of the web without any server."""
