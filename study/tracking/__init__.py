"""Write trials to MLflow and find them again.

This package knows nothing of Optuna, of Keras or of the commands.

The path of one metric:

`run_logger` turns it into an operation, and `outbox` queues that for a thread to deliver.
`writer`, called by that thread, sends it to the server.
If the server does not answer, `spool` keeps it on disk for the next command or `study.sync`.
Without MLflow, `journal` takes the place of `outbox`.
`import_offline` later makes runs of what `journal` wrote.
"""
