"""The terminal dashboard and the command line, built on the `gnjobs` library.

The library never imports this package. Inside it, imports go one way: `cli`, `demo`, `app`, `screens`, `widgets` and
`live`, `outputs`, `keys`, `style`; each may import only what stands after it.
"""
