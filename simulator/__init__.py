"""The providers' side of the wire: fleets of chatty, seeded vehicles behind the vendors' own interfaces, with faults.

Owns what a vendor would own: vehicles, their values, the stream and the HTTP answers. Shares no code with providers/
and imports nothing of the service, so that a misreading of a vendor's contract cannot hide on both sides at once.
"""
