"""Repeated measures: designs, covariance structures, likelihood, fits and contrasts, batched over replicates.

`fitting.fit_repeated_measures` is where to start.
"""
