"""Brings a file from its publisher, whole and as pinned, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from ops.stack.state import CannotRun

_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_PIECE_BYTES: Final = 1 << 20


def download(
    url: str, target: Path, *, size: int, sha256: str, on_bytes: Callable[[int], None]
) -> None:
    """Write the file at `url` to `target`; an interrupted download goes on where it ended.

    Proxies and certificates of the environment are obeyed.

    Args:
        on_bytes: called with the number of bytes that are there, after each piece.

    Raises:
        CannotRun: the publisher does not answer, or the file is not the one that is pinned.
    """
    part = target.with_suffix(".part")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _fetch(url, part, size, on_bytes)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise CannotRun(f"{httpx.URL(url).host} answered {status} for {url}.") from error
    except httpx.HTTPError as error:
        raise CannotRun(
            f"{httpx.URL(url).host} does not answer ({type(error).__name__}); the command goes on "
            "where it ended when you repeat it."
        ) from error
    _check(part, size, sha256)
    part.replace(target)


def _fetch(url: str, part: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    there = part.stat().st_size if part.exists() else 0
    if there >= size:
        return
    headers = {"Range": f"bytes={there}-"} if there else {}
    with httpx.stream(
        "GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True
    ) as response:
        response.raise_for_status()
        is_rest = response.status_code == httpx.codes.PARTIAL_CONTENT
        there = there if is_rest else 0
        with part.open("ab" if is_rest else "wb") as file:
            for piece in response.iter_raw(_PIECE_BYTES):
                there += len(piece)
                if there > size:
                    break
                file.write(piece)
                on_bytes(there)
    if there != size:
        if there > size:
            part.unlink()
        raise CannotRun(f"The file has {there} bytes where {size} are pinned; try again.")


def _check(part: Path, size: int, sha256: str) -> None:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    if part.stat().st_size != size or digest.hexdigest() != sha256:
        part.unlink()
        raise CannotRun("The file is not the one that is pinned: its SHA-256 differs.")
