"""Fixtures of the warehouse's tests; the helpers are in warehouse_world.py."""

from warehouse_world import bench, empty_build

__all__ = ["bench", "empty_build"]
