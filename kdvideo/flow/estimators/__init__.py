"""Flow estimators, and flow as a source for clips and batches."""
