"""Means of what is correlated in time, with their standard errors."""
