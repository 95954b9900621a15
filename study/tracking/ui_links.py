"""Build links to pages of the MLflow UI, and the first view of its table of runs.

The links go into the descriptions that the UI itself shows.
"""

import json
from collections.abc import Collection
from urllib.parse import quote
from urllib.parse import urlencode

NOTE_TAG = "mlflow.note.content"  # a run's tag that the UI shows as Markdown, above all else
# An experiment's tag, as the UI's own "share" button writes it. `view_link` opens this view.
VIEW_TAG = "mlflow.sharedViewState.study"
MODE = {"workflowType": "machine_learning"}  # else the UI starts in its mode for language models
NAME = "attributes.`Run Name`"
MOST_RUN_IDS = 100  # in an address: each takes 40 characters, and a proxy may refuse 8 kB
COLUMNS = (
    "attributes.`Duration`",
    "metrics.`val_accuracy`",
    "metrics.`test_accuracy`",
    "metrics.`leak_fraction`",
    "params.`hidden_layers`",
    "params.`dense_units`",
    "params.`lr`",
    "params.`seed`",
    "tags.`split`",
    "tags.`variant`",
)


def build_view_state() -> str:
    """Return the value of the tag `VIEW_TAG`, as JSON.

    The view has the finished runs, the best on validation first, and the columns to show.
    """
    state = {
        "searchFilter": "tags.finished = 'true'",
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
        "columnOrder": [NAME],  # the UI sets widths only for the columns named here
        "columnWidths": {NAME: 320},  # pixels
    }
    return json.dumps(state)


def run_link(experiment: str, run_id: str) -> str:
    """Return the link to a run's page.

    The page opens even if the run is of another experiment.
    """
    return f"#/experiments/{experiment}/runs/{run_id}?{urlencode(MODE)}"


def view_link(experiment: str) -> str:
    """Return the link to the table of an experiment's finished runs.

    The table has the columns of `VIEW_TAG`.
    """
    return f"#/experiments/{experiment}/runs?{urlencode(MODE | {'viewStateShareKey': 'study'})}"


def charts_link(experiment: str, parent: str, run_ids: Collection[str] = ()) -> str:
    """Return the link to the charts of a study's runs, one chart per metric.

    Args:
        experiment: of the runs.
        parent: of the study.
        run_ids: the study's runs, some of which may have been trained before it and so have
            another parent. If there are none, or more than an address can hold, the charts are of
            the runs under `parent`.
    """
    search = f"tags.mlflow.parentRunId = '{parent}'"
    if 0 < len(run_ids) <= MOST_RUN_IDS:
        names = ", ".join(f"'{run_id}'" for run_id in run_ids)
        search = f"attributes.run_id IN ({names})"
    query = {
        "searchFilter": search,
        # Sorted by time, the runs would be hidden below their parent.
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": "false",
        "compareRunsMode": "CHART",
    }
    return f"#/experiments/{experiment}/runs?{urlencode(MODE | query, quote_via=quote)}"
