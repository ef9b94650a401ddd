"""Measuring whole models: tasks, what is timed of them, and the visits in which they take turns."""
