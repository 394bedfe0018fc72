"""The science of SinkScope: models, recordings, sinks. Knows no screen."""

__version__ = "0.1.0"
