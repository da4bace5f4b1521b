"""Reports: one HTML page each with the tables and figures of an evaluation, an analysis or a sweep."""
