"""The providers' side of the wire. Shares no code with providers/."""
