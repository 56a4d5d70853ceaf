"""Cohorts from published summaries, and cohorts made to meet them."""
