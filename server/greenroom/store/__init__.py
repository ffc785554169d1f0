"""Conversations on disk: sessions, their lines and jobs, and the commands that were answered."""

from greenroom.store.records import JobRecord, LineRecord, Retention, SessionRecord
from greenroom.store.store import Store

__all__ = ["JobRecord", "LineRecord", "Retention", "SessionRecord", "Store"]
