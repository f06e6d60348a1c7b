"""Runs a rollout: the clock, the event loop, the hands that do what rollout/ decides."""
