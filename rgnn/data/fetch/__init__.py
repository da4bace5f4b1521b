"""Data from outside: resumable downloads and a registry of the published files."""
