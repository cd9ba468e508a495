"""Equations as MathML, which browsers draw themselves: no script, no network."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

_DOLLARS = re.compile(r"\$([^$]+)\$")


def _write_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(str(tex2mathml(node.astext())))
    raise nodes.SkipNode


def _write_block(translator: Any, node: nodes.math_block) -> None:
    equation = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="equation">{equation}</div>\n')
    raise nodes.SkipNode


def _read_dollars(
    app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Take what stands between dollar signs in a docstring for an equation."""
    lines[:] = [_DOLLARS.sub(r":math:`\1`", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer, by the name that ``html_math_renderer`` takes."""
    app.add_html_math_renderer("mathml", (_write_inline, None), (_write_block, None))
    app.connect("autodoc-process-docstring", _read_dollars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
