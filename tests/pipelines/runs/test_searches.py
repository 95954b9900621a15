"""What a search has judged its configs by, from its parent run in a real store."""

from mlflow.tracking import MlflowClient

from pipelines.runs.searches import read_objectives


def test_objective_is_the_metric_of_the_best_value_of_a_search(client: MlflowClient) -> None:
    parents = []
    for study, metric in (
        ("search-chest-4ep-1", "best_val_auc"),
        ("search-chest-4ep-2", "best_val_loss"),
        ("search-chest-4ep-3", "finished"),  # killed before its first summary
        ("grid-chest", "best_cell_test_accuracy_mean"),
    ):
        run_id = client.create_run("0", tags={"study": study}).info.run_id
        client.log_metric(run_id, metric, 0.9)
        parents.append(run_id)
    assert read_objectives(parents) == {parents[0]: "val_auc", parents[1]: "val_loss"}
    assert read_objectives(parents[1:]) == {parents[1]: "val_loss"}
