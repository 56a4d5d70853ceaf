"""From SOURCES.yaml to one row per patient and a dataset card."""
