"""Cohort models fitted to patient-level data with Pyro."""
