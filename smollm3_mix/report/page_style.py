"""Style sheet of the HTML report: one column, light and dark, with colors that differ in hue and lightness."""

STYLE = """
:root{--bg:#fbfaf8;--card:#fff;--ink:#1d1f24;--soft:#5d6470;--line:#e2e0da;--accent:#2f6f8f;--mark:#c2410c;--good:#166534;
--bad:#b91c1c;--c0:#d9dde2;--c1:#2f6f8f;--c2:#e08e2b;--c3:#7a4f9a;--c4:#4f9d69;--c5:#c94f5d;--c6:#8c6d46;--c7:#3f4f9d;
--c8:#b9a429;--c9:#777d86}
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1c1f25;--ink:#e8e6e1;--soft:#a2a9b4;--line:#32363e;
--accent:#6fb3d3;--mark:#fb923c;--good:#6ee7a0;--bad:#fca5a5;--c0:#3a404a;--c1:#6fb3d3;--c2:#f0b057;--c3:#b794d6;--c4:#86cf9f;
--c5:#f08d98;--c6:#c9a878;--c7:#94a3f0;--c8:#e3d05c;--c9:#a2a9b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:1120px;margin:0 auto;padding:0 1.25rem}
header{padding-top:2.5rem}
h1{font-size:2.2rem;line-height:1.15;margin:0 0 .4rem;letter-spacing:-.02em}
h2{font-size:1.25rem;margin:0 0 .8rem}
header>p{margin:.2rem 0 1rem}
.good,.bad{padding:.6rem .9rem;border-radius:8px;border:1px solid currentColor;font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.bad p{margin:0}.bad ul{margin:.4rem 0 0;font-weight:400}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:.75rem;margin:1.2rem 0}
.tiles div{display:flex;flex-direction:column-reverse;justify-content:flex-end;background:var(--card);
border:1px solid var(--line);border-radius:10px;padding:.7rem .9rem}
.tiles dd{margin:0;font-size:1.35rem;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
.tiles dt{color:var(--soft);font-size:.8rem;line-height:1.3}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:0 0 1.4rem;font-size:.9rem}
a{color:var(--accent)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.3rem 1.4rem;margin:0 0 1.2rem}
section>p{color:var(--soft);max-width:75ch;margin:0 0 1rem;font-size:.92rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{caption-side:bottom;text-align:left;color:var(--soft);padding-top:.7rem;font-size:.85rem}
th,td{padding:.3rem .55rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--soft);font-weight:500}
th:first-child{text-align:left;font-weight:600}
td svg{display:block}
.bar{width:200px;height:14px}.meter{width:80px;height:8px}.parts{width:100%;min-width:240px;height:16px;border-radius:3px}
td:has(.parts){width:65%}
.actual,.used{fill:var(--accent)}.target{fill:var(--mark)}.track{fill:var(--c0)}.over{fill:var(--bad)}
.band{fill:var(--accent);fill-opacity:.55;stroke:var(--accent);stroke-width:.6}
.axis{stroke:var(--soft);stroke-width:.6}.bound{stroke:var(--mark);stroke-width:1;stroke-dasharray:4 3}
svg text{fill:var(--soft);font-size:9px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(235px,1fr));gap:1rem 1.2rem}
figure{margin:0;min-width:0}figure svg{width:100%;height:auto;display:block}
figcaption{font-size:.85rem;font-weight:600;line-height:1.35;margin-bottom:.2rem;overflow-wrap:anywhere}
figcaption span{display:block}
figcaption span,summary span{color:var(--soft);font-weight:400}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;padding:0;margin:0 0 .8rem;font-size:.85rem}
.legend svg{width:11px;height:11px;margin-right:.4rem}
.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}
.c6{fill:var(--c6)}.c7{fill:var(--c7)}.c8{fill:var(--c8)}.c9{fill:var(--c9)}
details{border-top:1px solid var(--line);padding:.5rem 0}
summary{cursor:pointer;font-weight:600;padding:.2rem 0}
article{border-left:3px solid var(--accent);padding:.1rem 0 .1rem .9rem;margin:.8rem 0}
article.dropped{border-color:var(--mark)}
.origin,.more{color:var(--soft);font-size:.8rem;margin:0 0 .3rem;overflow-wrap:anywhere}
.reason{color:var(--mark);font-weight:700}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:.84rem/1.45 ui-monospace,monospace;max-height:22rem;
overflow:auto;unicode-bidi:isolate}
code{font:.92em ui-monospace,monospace;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:.82rem;padding:.4rem 1.25rem 2.5rem}
@media print{section{break-inside:avoid}pre{max-height:none}}
"""
"""CSS of a `style` element. Text has a contrast of at least 4.5 : 1 in both schemes."""
