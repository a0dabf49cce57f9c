"""Sounds to hear: blinded listening tests and their analysis."""
