"""Tasks: labelled texts in three splits, label words, templates and manual prompts."""

from hardprompt.tasks.load import load_task, task_names
from hardprompt.tasks.schema import Example, Label, Task

__all__ = ["Example", "Label", "Task", "load_task", "task_names"]
