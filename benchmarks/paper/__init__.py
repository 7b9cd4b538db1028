"""The tables, figures and claims of the paper, and the machinery that only they need."""
