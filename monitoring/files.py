"""Which files are made of what: {path below charts/penstock/files: text}."""

from pathlib import Path

from monitoring.alerts import rules
from monitoring.board import Board
from monitoring.dashboards import feature_store, kafka, model, platform, rollout

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "charts/penstock/files"


def boards() -> list[Board]:
    """Every dashboard."""
    return [module.board() for module in (platform, model, rollout, kafka, feature_store)]


def files() -> dict[Path, str]:
    """Every file, whole."""
    made = {Path("dashboards") / f"{board.name}.json": board.text() for board in boards()}
    made[Path("alerts.yaml")] = rules.text()
    return made
