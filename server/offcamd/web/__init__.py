"""Everything over HTTP: the API, the Prometheus exporter and the page. Only this package imports starlette and its kin.

The HTTP server's own thread imports the modules that need these libraries, so that a daemon is ready before they are.
"""
