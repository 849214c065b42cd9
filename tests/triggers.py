"""Triggers, for the wrappers under test."""

from __future__ import annotations


def always(number: int) -> bool:
    return True


def every_second(number: int) -> bool:
    return number % 2 == 0


def never(number: int) -> bool:
    return False
