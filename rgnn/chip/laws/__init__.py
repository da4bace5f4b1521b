"""Laws of cells that were fitted to measurements: read noise, spectra, programming errors, relaxation and bakes."""
