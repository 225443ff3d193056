"""Assemble the page's runtime: one classic script, written from the operation table and the files beside this one."""

from __future__ import annotations

from pathlib import Path

from ..operations import KERNELS, POINTWISE, REDUCE, SCAN

__all__ = ["PARTS", "css", "source"]

_HERE = Path(__file__).parent
PARTS = ("kernels.js", "compute.js", "worker.js", "exercises.js", "player.js", "figure.js")

_BANNER = "/* Live figures: runs recorded torch programs in the page. No dependencies. MIT licence. */\n"


def source(minify: bool = True) -> str:
    """The JavaScript of ``live.js``.

    Parameters
    ----------
    minify : bool
        Strip comments and white space (for people who read it, ask for ``False``). Without rjsmin, a tool of the build
        that a notebook need not have, the script stays as it is: the same program, only longer.

    Returns
    -------
    str
        A script that runs in a page and, given to ``Worker``, in a worker; it defines ``live`` and nothing else.
    """
    first, *rest = PARTS
    body = "\n".join([_read(first), _tables(), *map(_read, rest)])
    script = f'(() => {{\n"use strict";\n{body}\n}})();\n'
    if minify:
        try:
            import rjsmin
        except ModuleNotFoundError:
            return _BANNER + script
        script = rjsmin.jsmin(script)
    return _BANNER + script


def css() -> str:
    """The style sheet ``live.css`` of figures and exercises."""
    return _read("live.css")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf8")


def _tables() -> str:
    """The loops that the operation table asks for, as JavaScript."""
    lines = [
        "const one=f=>(n,O,o,p,A,a,q)=>{for(let i=0;i<n;i++,o+=p,a+=q)O[o]=f(A[a])};",
        "const two=f=>(n,O,o,p,A,a,q,B,b,r)=>{for(let i=0;i<n;i++,o+=p,a+=q,b+=r)O[o]=f(A[a],B[b])};",
        "const POINTWISE={",
    ]
    for name, row in POINTWISE.items():
        names = row.operands
        if row.hot:
            loads = ",".join(f"{x}={x.upper()}[{x}0]" for x in names)
            signature = "".join(f",{x.upper()},{x}0,{x}1" for x in names)
            advance = "".join(f",{x}0+={x}1" for x in names)
            lines.append(
                f"{name}(n,O,o,p{signature}){{for(let i=0;i<n;i++,o+=p{advance})"
                f"{{const {loads};O[o]={row.javascript}}}}},"
            )
        else:
            shared = {1: "one", 2: "two"}[len(names)]
            lines.append(f"{name}:{shared}(({','.join(names)})=>{row.javascript}),")
    lines += ["};", "const REDUCE={"]
    for name, row in REDUCE.items():
        lines.append(
            f"{name}(A,a,q,n){{let s={row.start};"
            f"for(let i=0;i<n;i++,a+=q){{const x=A[a];{row.update}}}return {row.finish}}},"
        )
    lines += ["};", "const SCAN={"]
    for name, row in SCAN.items():
        lines.append(
            f"{name}(n,O,o,p,A,a,q){{let s={row.start};"
            f"for(let i=0;i<n;i++,o+=p,a+=q){{const x=A[a];{row.update};O[o]=s}}}},"
        )
    results = ",".join(f"{name}:{count}" for name, count in KERNELS.items() if count > 1)
    lines += ["};", f"const RESULTS=new Proxy({{{results}}},{{get:(t,k)=>t[k]||1}});"]
    return "\n".join(lines)
