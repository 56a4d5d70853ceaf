"""Does a synthetic cohort look like the real one?"""
