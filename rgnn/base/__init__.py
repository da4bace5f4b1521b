"""What all packages stand on, and what knows nothing of atoms or chips: settings, errors, files, random streams."""
