"""What the databases were asked, how long it took, and where in the code it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.monitoring.records import current_record, track_request, track_task

__all__ = ["current_record", "track_request", "track_task"]

__getattr__ = lazy_exports(__name__, {"current_record": "records", "track_request": "records", "track_task": "records"})
