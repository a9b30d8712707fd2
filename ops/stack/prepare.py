"""What the stores need before Aether's own programs start."""

from __future__ import annotations

from core.errors import ServiceUnavailable
from core.settings import Settings
from ops.stack.state import CannotRun
from storage.connections import close_all, mongo_database, redis_client
from storage.format import OtherFormat, require_format
from storage.jobs.drain import Drain
from storage.records.migrations import CannotMigrate, migrate, prepare


def prepare_stores(settings: Settings, *, is_own_database: bool) -> None:
    """Bring a database of our own to this version, check one of somebody else, end a drain.

    Raises:
        CannotRun: the stores hold data of another version, or do not answer.
    """
    redis = redis_client(settings, name="aether-ops", answer_timeout_s=5.0)
    database = mongo_database(settings)
    try:
        if is_own_database:
            migrate(redis, database)
            require_format(redis, database)
        else:
            prepare(redis, database)
        Drain(redis).end()
    except (OtherFormat, CannotMigrate) as error:
        raise CannotRun(str(error)) from error
    except ServiceUnavailable as error:
        raise CannotRun(f"{error.message} ({error.__cause__!r})") from error
    finally:
        close_all(database, redis)
