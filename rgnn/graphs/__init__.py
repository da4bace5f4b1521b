"""Atoms as graphs: neighbours within a cutoff, topologies and their parts, batches of labelled frames, triplets."""
