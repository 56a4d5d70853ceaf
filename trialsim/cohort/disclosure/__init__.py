"""Does a cohort model tell who it was fitted to?"""
