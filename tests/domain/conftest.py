"""Property tests have no deadline per example: they judge rules, not the machine's speed."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("domain", deadline=None)
settings.load_profile("domain")
