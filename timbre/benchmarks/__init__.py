"""Public test sets, from files of the user's: readers, scores, the harness of others."""
