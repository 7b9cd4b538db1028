"""Flow estimators behind one interface, and flow computed for clips and batches."""
