"""Text in, documents out: sources, readers, cleaning, privacy, duplicates, splits and the data contract."""
