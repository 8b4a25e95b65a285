"""Property tests judge rules, not the speed of the machine that happens to run them: no deadline per example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("domain", deadline=None)
settings.load_profile("domain")
