"""The command line of rgnn: it parses, shows progress and results, and computes nothing."""
