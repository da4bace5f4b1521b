"""The figures; only these modules import Matplotlib."""
