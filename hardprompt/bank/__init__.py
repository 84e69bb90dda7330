"""Prompts of many tasks on one frozen model."""
