"""Label words searched: which word the model is to write for each class."""
