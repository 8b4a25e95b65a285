"""The ingest unit: the statements that commit one batch of submissions, in their order."""
