"""The graph store: labelled frames with their edges on disk, in blocks that are written once and never changed."""
