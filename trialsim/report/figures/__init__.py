"""Figures as inline SVG: they take their colours from the page, so that they read in light and dark."""
