"""Force fields: their families, settings, checkpoints, committees and uncertainties."""
