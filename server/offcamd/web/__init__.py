"""Everything over HTTP: the API, the Prometheus exporter and the page. Only this package imports starlette and its kin.

Modules that need them are imported by the HTTP server's own thread, so that a daemon is ready before they are.
"""
