"""Exporters: what a cache counts, in the words of Prometheus, StatsD and OpenTelemetry."""
