"""Consent, the audit log, and which models have read whom."""
