"""Chip."""
