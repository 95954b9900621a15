"""Deliver the records that wait in the cache folder, or in one of study.offline."""

import os
from pathlib import Path

from study.common.errors import first_line
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.files import exclusive_lock
from study.common.settings import tracking_uri
from study.common.words import pluralize
from study.tracking import import_offline
from study.tracking import spool
from study.tracking.connection import connect
from study.tracking.failures import redact_credentials
from study.tracking.journal import is_finished
from study.tracking.journal import Journal
from study.tracking.journal import OPERATIONS


def sync_spool() -> str:
    """Deliver the records that wait in the cache folder.

    Returns:
        A sentence on what was done.

    Raises:
        TrackingError: the server does not answer, or fails; no record is lost.
        StudyError: a record was refused, or belongs to another server.
    """
    count = len(spool.list_spools())
    if count == 0:
        return "nothing to deliver"
    _lengthen_http_timeout()
    try:
        result = spool.flush_spool(connect())
    except TrackingError as error:
        raise TrackingError(f"{first_line(error)}; {_format_left(count)}") from None
    summary = f"{pluralize(len(result.delivered), 'run')} delivered"
    for problem in result.waiting.values():
        raise TrackingError(f"{summary}; {problem}; {_format_left(len(result.waiting))}")
    if result.refused:
        raise StudyError(
            f"{summary}, {pluralize(len(result.refused), 'run')} refused: see the lines above"
        )
    if result.unknown:
        raise StudyError(
            f"{summary}; MLflow at {redact_credentials(tracking_uri())} does not know "
            f"{pluralize(len(result.unknown), 'run')}: set MLFLOW_TRACKING_URI to the server on "
            "which their training started"
        )
    return summary


def sync_folder(folder: Path) -> str:
    """Deliver the finished records of a folder that `study.offline` wrote to.

    Returns:
        A sentence on what was done.

    Raises:
        TrackingError: the server does not answer, fails or refuses; no record is lost.
        StudyError: there are no records, or another process is delivering them.
    """
    records = [Journal(path.parent) for path in sorted(folder.glob(f"*/{OPERATIONS}"))]
    if not records:
        raise StudyError(f"no records in {folder}: name the folder that study.offline wrote to")
    _lengthen_http_timeout()
    finished = [record for record in records if is_finished(record)]
    with exclusive_lock(folder / "sync"):
        delivered = import_offline.import_records(connect(), finished)
    summary = f"{pluralize(delivered, 'run')} delivered, {len(finished) - delivered} there already"
    unfinished = len(records) - len(finished)
    return f"{summary}, {unfinished} not finished yet" if unfinished > 0 else summary


def _lengthen_http_timeout() -> None:
    # In seconds. No training waits for the answer, and a server may need long for a large model.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


def _format_left(count: int) -> str:
    return f"{pluralize(count, 'run')} still to deliver, nothing is lost"
