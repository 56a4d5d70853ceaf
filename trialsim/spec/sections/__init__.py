"""The sections of a protocol that belong to no other folder, one per file."""
