"""Kinds of dependence between the columns of a fitted cohort: one file each, and its name here."""
