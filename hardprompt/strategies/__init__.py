"""Search strategies, one file each; `hardprompt.registry` knows their names."""
