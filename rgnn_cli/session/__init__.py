"""What commands share: options, console, device, errors and what was made last here."""
