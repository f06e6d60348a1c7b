"""Firmware build, signing and staged rollout for cryo-CMOS controllers."""

__version__ = "0.1.0"
