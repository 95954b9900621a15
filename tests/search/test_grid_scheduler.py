"""What one process of a grid knows of cells that others train."""

from mlflow.tracking import MlflowClient

from study.config.trial_config import recipe
from study.job import Options
from study.search.claims import Claims
from study.search.grid_plan import plan_variants
from study.search.grid_scheduler import ClaimedCell
from study.search.grid_scheduler import GridScheduler
from study.search.run_grid import make_grid
from study.search.storage import Storage


def test_cell_that_failed_here_and_finished_elsewhere_is_finished(client: MlflowClient) -> None:
    grid = make_grid(plan_variants(recipe("demo")), "digest")
    claims = Claims(Storage(grid.name), "maximize")
    scheduler = GridScheduler(grid, claims, client, Options())
    failed, *_ = [scheduler.claim_next() for _ in range(2)]
    assert isinstance(failed, ClaimedCell)
    claims.fail(failed.trial, "no memory")
    scheduler.note_failure(failed, "no memory")
    cell = failed.cell
    # another process, whose repeated command tried the cell again
    trial = claims.ask(grid.point(cell), grid.ranges(), grid.keys[cell])
    run_id = client.create_run("0").info.run_id
    claims.complete(trial, 0.7, run_id=run_id)
    scheduler.claim_next()
    assert scheduler.failed == {}
    assert [(each, scheduler.finished[each].val_accuracy) for each in scheduler.finished] == [
        (cell, 0.7)
    ]
    assert scheduler.finished[cell].run_id == run_id
