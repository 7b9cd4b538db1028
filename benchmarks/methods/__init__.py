"""A ranking: every method on the same pairs of teacher and student, with weights tuned by one budget."""
