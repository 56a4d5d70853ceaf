"""The protocol in sentences, one file for each topic."""
