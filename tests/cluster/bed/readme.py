"""The README's section "On Kubernetes": its commands, and which of them are pasted into one shell.

    makes the cluster            no test: it is there
    serves, asks, takes live     `plain`
    Rollouts by evidence         `evidence`, which begins with what serves

Invariant: every block of the section is in one of them.
"""

import re
from dataclasses import dataclass

from bed.places import ROOT

_SECTION = re.compile(r"^## On Kubernetes\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_SUBSECTION = "\n### Rollouts by evidence\n"
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """Blocks of commands, in the README's order. `makes`: the one that makes the cluster; `serves`: the one that serves the model
    and reaches it; `goes_on`: what follows that, up to the subsection; `by_evidence`: the subsection's own."""

    makes: str
    serves: str
    goes_on: tuple[str, ...]
    by_evidence: tuple[str, ...]

    @property
    def plain(self) -> list[str]:
        """The section up to its subsection."""
        return [self.serves, *self.goes_on]

    @property
    def evidence(self) -> list[str]:
        """The subsection by itself."""
        return [self.serves, *self.by_evidence]


def read_section() -> Section:
    """The section as the README has it."""
    section = _SECTION.search((ROOT / "README.md").read_text())
    assert section is not None
    before, _, after = section[1].partition(_SUBSECTION)
    makes, serves, *rest = _BLOCK.findall(before)
    return Section(makes, serves, tuple(rest), tuple(_BLOCK.findall(after)))
