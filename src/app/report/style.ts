/** The style sheet of a report: one column that reads well on a desk, on a phone and on paper, in light and in dark. */

const LIGHT = `--page:#fff;--text:#1d2329;--muted:#5c6670;--rule:#c9d0d6;--grid:#eaedf0;--panel:#f6f7f9;--faint:#9db8d3;
--federated:#0b5cad;--validation:#c2410c;--pooled:#23803f;--alone:#8b3fa8;--base:#6b7280;--warn:#a1480b;
--c1:#4a7fb5;--c2:#e39a3b;--c3:#5fa777;--c4:#b86fa5;--c5:#8d99a6;--c6:#cf6a5d;--c7:#64b3bd;--c8:#a68b5b;
--l1:#0b5cad;--l2:#c2410c;--l3:#23803f;--l4:#8b3fa8;--l5:#0e7490;--l6:#b0245a;--l7:#8a6100;--l8:#4b5563;color-scheme:light`;
const DARK = `--page:#14181c;--text:#e3e7ea;--muted:#9aa5af;--rule:#47515a;--grid:#262d33;--panel:#1c2227;--faint:#4f6d8c;
--federated:#6cb2f5;--validation:#ff9c5b;--pooled:#6fcf8b;--alone:#d59bea;--base:#a4adb6;--warn:#f0a868;
--c1:#5b93cc;--c2:#dba04f;--c3:#63ab7c;--c4:#c17fae;--c5:#83909c;--c6:#d67a6d;--c7:#62afb9;--c8:#b0966a;
--l1:#6cb2f5;--l2:#ff9c5b;--l3:#6fcf8b;--l4:#d59bea;--l5:#56cfdc;--l6:#f590b4;--l7:#e2c25a;--l8:#b3bcc5;color-scheme:dark`;

/** The whole style sheet; no fonts or pictures from elsewhere. */
export const STYLE = `
:root{${LIGHT}}
@media screen and (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:57.5rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.4rem;line-height:1.25;margin:4rem 0 .5rem;padding-top:1.5rem;border-top:2px solid var(--rule);overflow-wrap:anywhere}
h3{font-size:1.1rem;margin:2.75rem 0 .75rem}
h4{font-size:.8rem;font-weight:600;color:var(--muted);margin:0 0 .25rem}
.of{margin:1rem 0 .4rem}
p{margin:.5rem 0}
.lead{font-size:1.1rem;max-width:44rem}
.muted,.note{color:var(--muted)}
.note{font-size:.875rem;max-width:48rem}
.note b{font-weight:600;color:var(--text)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:min(100%,36rem)}
th,td{padding:.3rem .9rem;text-align:right;white-space:nowrap}
th:first-child{text-align:left;padding-left:0;font-weight:400}
td:last-child,th:last-child{padding-right:.25rem}
thead th,thead th:first-child{font-size:.85rem;font-weight:600;color:var(--muted);border-bottom:1px solid var(--rule);vertical-align:bottom}
tr.client+tr:not(.client) th,tr.client+tr:not(.client) td{border-top:1px solid var(--rule)}
.figures tr:not(.client) th:first-child{font-weight:600}
.figures th:first-child{max-width:14rem;overflow:hidden;text-overflow:ellipsis}
figure{margin:0}
.chart svg{display:block;max-width:100%;height:auto}
.narrow{display:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:0 0 .5rem;padding:0;font-size:.85rem;color:var(--muted)}
.legend li{display:flex;align-items:center;gap:.5rem}
.key{display:inline-block;flex:none;width:1.5rem;height:0;border-top:3px solid var(--key)}
.key.thin{border-top-width:1.5px}.key.dashed{border-top:2px dashed var(--key)}.key.dotted{border-top:2px dotted var(--key)}
.key.block{width:.8rem;height:.8rem;border:0;background:var(--key);border-radius:2px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
.key.dot,.key.square,.key.diamond{width:.65rem;height:.65rem;border:0;background:var(--key);-webkit-print-color-adjust:exact;print-color-adjust:exact}
.key.dot{border-radius:50%}.key.diamond{transform:rotate(45deg) scale(.8)}
.multiples{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.25rem 2rem}
.multiples>div{min-width:0;break-inside:avoid}
.compare thead th{white-space:normal}
.compare th:first-child{white-space:normal;min-width:4.5rem}
.compare th small{display:inline-block;margin-left:.6em;font-size:.85em;color:var(--muted)}
.benchmarks th small,.benchmarks td small{display:block;margin-left:0}
.compare tr.federation th{font-weight:600;padding-top:.9rem;border-bottom:1px solid var(--grid)}
.compare td small{font-size:.85em;font-weight:400;color:var(--muted)}
.runs th:first-child,.runs td:last-child{overflow-wrap:anywhere}
.runs td:last-child,.runs th:last-child{text-align:left}
.runs th,.runs td{padding-top:.1rem;padding-bottom:.1rem}
a{color:var(--federated)}
.sample{margin:1rem 0 1.5rem}
.prompt{font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere;margin:0 0 .5rem}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:.75rem}
.answers>div{background:var(--panel);border-radius:6px;padding:.75rem 1rem}
.answers p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
ul{padding-left:1.2rem;margin:.5rem 0}
li{overflow-wrap:anywhere}
li.warning{color:var(--warn)}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:.1rem 2rem;margin:0 0 1rem;font-size:.9rem}
.facts div{display:flex;gap:.75rem}
.facts dt{color:var(--muted);flex:none;width:6.5rem;overflow-wrap:anywhere}
.facts dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--panel);border-radius:6px;padding:1rem;margin:0;overflow-x:auto;font:.82rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
footer{margin-top:3rem;font-size:.85rem;color:var(--muted)}
@media (max-width:40rem){
main{padding:1.5rem 1rem 3rem}
h1{font-size:1.45rem}
.wide{display:none}.narrow{display:block}
th,td{padding:.3rem .35rem}
table{font-size:.82rem;min-width:0}
thead th{white-space:normal}
.compare th,.compare td{padding:.3rem .25rem}
.compare th:first-child{min-width:3.6rem;padding-left:0}
.compare th small{display:block;margin-left:0}
.compare td{white-space:normal}
.compare td small{display:block}
.figures td:nth-child(2),.figures th:nth-child(2){display:none}
.figures th:first-child{max-width:6.2rem}
}
@media print{
body{font-size:11pt}
main{max-width:none;padding:0}
section{break-inside:avoid}
section:last-of-type{break-inside:auto}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
.wide{display:block}.narrow{display:none}
.multiples{grid-template-columns:1fr 1fr}
a{color:inherit}
h2{break-before:page;border:0;margin-top:0}
}
`.trim();
