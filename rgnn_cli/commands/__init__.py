"""The commands: each reads its options, makes one call of the library, and shows the result."""
