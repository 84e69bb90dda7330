"""The metric against the length of the prompt and the size of the model: many comparisons."""
