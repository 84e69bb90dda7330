"""hardprompt: find the words that make a frozen language model solve a task.

Importing this package loads neither torch nor transformers.
"""

__version__ = "0.1.0"
