"""Files of labelled prompts: `{"prompt": "…", "weak": 0.4, "strong": 1.0}`, one object a line.

`weak` and `strong` say what a weak and a strong model's answers were worth, from 0 to 1;
`"source"` is optional and names the collection that the prompt is from.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ops.routing.labels import Labelled


def read_labelled(path: Path) -> list[Labelled]:
    """Read a labelled file.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: a line is none of its form.
    """
    lines = path.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Labelled) for line in lines if line.strip()]
