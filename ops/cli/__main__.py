"""`python -m ops.cli`: the aether command."""

from __future__ import annotations

from ops.cli.main import app

app(prog_name="aether")
