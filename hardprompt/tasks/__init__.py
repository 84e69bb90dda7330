"""Tasks: labelled texts in three splits, label words, templates and manual prompts."""

from hardprompt.tasks.load import draft_of, load_choice, load_task, task_names
from hardprompt.tasks.schema import Example, Label, Task

__all__ = ["Example", "Label", "Task", "draft_of", "load_choice", "load_task", "task_names"]
