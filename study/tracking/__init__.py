"""Write trials to MLflow and find them again.

The path of one metric: `run_logger` makes an operation of it, `outbox` queues it in a thread,
`writer` sends it to the server; if that does not answer, `spool` keeps it on disk, and the next
command or `study.sync` delivers it. Without MLflow, `journal` takes the place of `outbox`, and
`import_offline` makes runs of what it wrote.
"""
