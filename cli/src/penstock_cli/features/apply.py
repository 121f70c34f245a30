"""`penstock features apply`: Feast's own apply on a repository: its definitions into the registry, its tables into the store."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import click

from penstock.errors import InvalidInput
from penstock_cli.errors import Command
from penstock_cli.features.registry import inside, open_feast, quiet
from penstock_cli.features.repository import open_repository
from penstock_cli.progress import Progress


@click.command("apply", cls=Command)
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=".", help="The Feast repository [this folder].")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(repo: Path, as_json: bool) -> None:
    """Register what the repository's Python files define: entities and feature views; make the online store's tables.

    What is no longer defined is removed from the registry, and its online values with it, as `feast apply` does.
    """
    repository = open_repository(repo)
    with Progress("applying") as progress:
        progress.say("importing Feast")
        views = apply(repository.path)
    if as_json:
        click.echo(json.dumps({"project": repository.project, "views": views, "online_store": _shown(repository.online_url)}))
        return
    names = ", ".join(views) or "none"
    click.echo(f"project {repository.project}: {len(views)} feature views ({names}) in {_shown(repository.online_url)}")


def apply(folder: Path) -> list[str]:
    """Apply the repository; the names of its feature views. Raises InvalidInput with what Feast says is wrong."""
    store = open_feast(folder, checked=True)
    try:
        with quiet(), inside(folder), redirect_stdout(StringIO()):
            from feast.repo_operations import apply_total_with_repo_instance, parse_repo

            apply_total_with_repo_instance(store, store.config.project, store.registry, parse_repo(folder), True)
            store.refresh_registry()
            return sorted(view.name for view in (*store.list_feature_views(), *store.list_stream_feature_views()))
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"Feast cannot apply this repository: {error}", field=str(folder)) from None


def _shown(url: str) -> str:
    """A store's URL without the password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url
