"""Places in the MLflow UI, for links in its own descriptions; and the columns to begin with."""

import json
from urllib.parse import quote
from urllib.parse import urlencode

NOTE = "mlflow.note.content"  # a run's tag that the UI shows as Markdown, above all else
# An experiment's tag, as the UI's own "share" makes it: what `view_link` opens
VIEW = "mlflow.sharedViewState.study"
MODE = {"workflowType": "machine_learning"}  # else the UI begins in its mode for language models
NAME = "attributes.`Run Name`"
COLUMNS = (
    *("attributes.`Duration`", "metrics.`val_accuracy`", "metrics.`test_accuracy`"),
    *("metrics.`leak_fraction`", "params.`hidden_layers`", "params.`dense_units`"),
    *("params.`lr`", "params.`seed`", "tags.`split`", "tags.`variant`"),
)


def view() -> str:
    """The value of `VIEW`: the finished runs, the best on validation first, and their columns."""
    state = {
        "searchFilter": "tags.finished = 'true'",
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
        "columnOrder": [NAME],  # the UI sets the widths of these alone
        "columnWidths": {NAME: 320},  # pixels
    }
    return json.dumps(state)


def run_link(experiment: str, run_id: str) -> str:
    """A run's page. It shows, too, if the run is of another experiment."""
    return f"#/experiments/{experiment}/runs/{run_id}?{urlencode(MODE)}"


def view_link(experiment: str) -> str:
    """The table of an experiment's finished runs, with the columns of `VIEW`."""
    return f"#/experiments/{experiment}/runs?{urlencode(MODE | {'viewStateShareKey': 'study'})}"


def charts_link(experiment: str, parent: str) -> str:
    """The charts of the runs under a parent, one chart for each metric."""
    query = {
        "searchFilter": f"tags.mlflow.parentRunId = '{parent}'",
        "orderByKey": "metrics.`val_accuracy`",  # sorted by time, the runs hide below their parent
        "orderByAsc": "false",
        "compareRunsMode": "CHART",
    }
    return f"#/experiments/{experiment}/runs?{urlencode(MODE | query, quote_via=quote)}"
