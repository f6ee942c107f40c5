"""What can go wrong in a model, as one tree. Every message names the thing, the value and the way out."""

from __future__ import annotations


class ModelsError(Exception):
    """Base of every error that ``models`` raises on purpose."""


class StrategyError(ModelsError):
    """A strategy file is missing, unreadable or says something it may not."""


class FeatureError(ModelsError):
    """A frame lacks what the features or labels need."""


class TrainingError(ModelsError):
    """A model cannot be trained or scored on what was given."""


class LeakageError(ModelsError):
    """A result is too good to be true: something knows the future."""


class ArtifactError(ModelsError):
    """A stored model or snapshot is missing, damaged or not the one that was asked for."""


class CostError(ModelsError):
    """A cost was asked for that has no meaning (unknown side, negative quantity, ...)."""


class RiskError(ModelsError):
    """A risk figure cannot be computed from what was given."""


class OptimiserError(ModelsError):
    """No admissible weights exist for these scores and limits."""


class ValidationError(ModelsError):
    """A walk-forward, a simulation or a statistic cannot be computed from what was given."""
