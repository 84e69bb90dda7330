"""Metrics of classes and of generated text, and how far a figure can be trusted."""

from hardprompt.metrics.classification import Metric, metric_named, metric_names, per_class
from hardprompt.metrics.intervals import (
    interval,
    paired_gain,
    standard_error,
    text_gain,
    text_interval,
)
from hardprompt.metrics.text import TextMetric, text_metric_named, text_metric_names

__all__ = [
    "Metric",
    "TextMetric",
    "interval",
    "metric_named",
    "metric_names",
    "paired_gain",
    "per_class",
    "standard_error",
    "text_gain",
    "text_interval",
    "text_metric_named",
    "text_metric_names",
]
