"""How many files and connections this process may have open."""

from __future__ import annotations

import resource
import sys
from typing import Final

#: Log, libraries, connections to Redis and MongoDB.
_OTHERS: Final = 500


def raise_file_limit(connections: int) -> bool:
    """Raise the limit as far as the system lets; say on standard error when that is too little.

    Returns:
        whether there is room for so many connections.
    """
    wanted = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    has_room = max(soft, allowed) >= wanted
    if not has_room:
        sys.stderr.write(
            f"This process may open {max(soft, allowed)} files and needs {wanted} for "
            f"{connections} connections: raise the hard limit (ulimit -n, LimitNOFILE).\n"
        )
    return has_room
