"""The providers' side of the wire: simulated fleets behind the vendors' own interfaces.

Owns what a vendor would own: vehicles, their values, the stream, the HTTP answers and their faults.
It shares no code with providers/ and imports nothing of the service. So a misread contract of a
vendor cannot be misread on both sides in the same way.
"""
