"""The sections of a page that is written anew: those that nothing was found for stay as they stand."""


def sections_of(page: str) -> dict[str, str]:
    """What stands under each `## title` of a page."""
    return dict(section.split("\n", 1) for section in page.split("\n## ")[1:])
