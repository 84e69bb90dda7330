"""Frozen language models as scorers of prompts; `hardprompt.models.load` loads one."""
