"""Metrics of classification, and how far a figure can be trusted."""

from hardprompt.metrics.classification import Metric, metric_named, metric_names, per_class
from hardprompt.metrics.intervals import interval, paired_gain, standard_error

__all__ = [
    "Metric",
    "interval",
    "metric_named",
    "metric_names",
    "paired_gain",
    "per_class",
    "standard_error",
]
