"""Trackers: services that keep metrics, settings, report and exports of many runs."""
