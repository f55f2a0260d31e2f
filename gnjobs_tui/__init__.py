"""The terminal dashboard and the command line over the gnjobs library.

The library never imports it. Inside, one way down: `cli`, `demo`, `app`, `screens`, `widgets` and `live`, `outputs`,
`keys`, `style`.
"""
