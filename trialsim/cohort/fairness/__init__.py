"""Whom does a cohort represent, and how well?"""
