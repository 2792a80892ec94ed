"""The nouns of the product: frozen models and enums that every room shares.

Imports nothing of ours, asks no clock, no random source and no environment.
"""
