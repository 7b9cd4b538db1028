"""Fine-tuning a trained network on another data set: Table 4 of the paper."""
