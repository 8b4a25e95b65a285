"""Acceptance: what one canonical update does to one device (spec.md, acceptance behaviours; FR-015).

Owns the rule, once. Deciding is pure: the caller loads the device, applies the result and guards it in SQL.
"""
