"""Resistive-memory chips: measured and synthetic conductances, their flaws, converters, noise and analog products."""
