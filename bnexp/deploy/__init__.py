"""Trained networks for use: without their norm layers, and without bnexp."""
