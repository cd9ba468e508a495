<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="generator" content="shd-bids, through NiReports"/>
<title>{{ title }}</title>
<link rel="icon" href="data:,"/>
<style>
:root { --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --accent: #0b7285; --side: 12.5rem; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
a { color: var(--accent); }
nav { position: fixed; top: 0; bottom: 0; left: 0; width: var(--side); padding: 1.4rem 1.2rem;
  background: #f5f7fa; border-right: 1px solid var(--line); overflow-y: auto; }
nav strong { display: block; font-size: 1.05rem; margin-bottom: 0.8rem; overflow-wrap: anywhere; }
nav a { display: block; padding: 0.28rem 0; color: var(--ink); text-decoration: none; }
nav a:hover { color: var(--accent); text-decoration: underline; }
main { margin-left: var(--side); padding: 1rem 2.2rem 5rem; max-width: calc(1240px + 4.4rem); }
section { padding-top: 1.2rem; }
section + section { margin-top: 1.6rem; border-top: 1px solid var(--line); }
h1 { font-size: 1.65rem; margin: 0.2rem 0 0.6rem; }
h2 { display: inline-block; font-size: 1rem; margin: 1.4rem 0 0; padding: 0.15rem 0.7rem; color: #fff;
  background: var(--accent); border-radius: 0.3rem; }
h3 { font-size: 1.15rem; margin: 1.5rem 0 0.2rem; }
h4 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
p { margin: 0.3rem 0 0.7rem; max-width: 76ch; }
.description { color: var(--soft); }
.reportlet { margin: 0.3rem 0 0; }
.reportlet img, .reportlet object { display: block; width: 100%; height: auto; }
small { color: var(--soft); font-size: 0.75rem; }
small a { color: inherit; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0.4rem 0 1rem; font-size: 0.92rem; display: block;
  max-width: 100%; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: 0.28rem 1.1rem 0.28rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
table.facts th { font-weight: 500; color: var(--soft); white-space: nowrap; }
table.data thead th { color: var(--soft); font-weight: 500; border-bottom: 2px solid var(--line);
  overflow-wrap: normal; }
td.number, table.data thead th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.short { white-space: nowrap; }
pre { background: #f5f7fa; border: 1px solid var(--line); border-radius: 0.3rem; padding: 0.8rem 1rem;
  overflow-x: auto; font-size: 0.82rem; line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere; }
pre.copy { user-select: all; max-height: 28rem; overflow-y: auto; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--accent); }
.methods { background: #f5f7fa; border-left: 3px solid var(--accent); padding: 0.4rem 1.4rem; }
.methods p, .methods li { max-width: 86ch; }
.alert { padding: 0.6rem 1rem; border-radius: 0.3rem; max-width: none; }
.light { display: inline-block; padding: 0 0.55rem; border-radius: 0.8rem; white-space: nowrap;
  background: #e4e7eb; color: #3e4c59; }
.light-good { background: #c9efd6; color: #14532d; }
.light-look { background: #ffe29a; color: #663c00; }
.light-poor { background: #f8b4ae; color: #7f1d1d; }
.alert-success { background: #e6f6ec; color: #14532d; }
.alert-warning { background: #fff4d6; color: #663c00; }
.alert-danger { background: #fdecea; color: #7f1d1d; }
.crash { border: 1px solid #f5c2c0; border-radius: 0.3rem; padding: 0.4rem 1rem; margin: 0.8rem 0; }
.crash summary { color: #7f1d1d; overflow-wrap: anywhere; }
.tract-view-frame { position: relative; overflow: hidden; height: min(75vh, 38rem); background: #000; }
.tract-view canvas { display: block; width: 100%; height: 100%; touch-action: none; cursor: grab; }
.tract-view canvas:focus-visible { outline: 3px solid var(--accent); outline-offset: -3px; }
.tract-view-frame span { position: absolute; top: 0; left: 0; color: #dbe4ea; font-weight: 600;
  pointer-events: none; }
.tract-view-bar button { font: inherit; font-size: 0.9rem; margin: 0 0.4rem 0.5rem 0; padding: 0.15rem 0.7rem;
  color: var(--ink); background: #f5f7fa; border: 1px solid #9aa5b1; border-radius: 0.3rem; cursor: pointer; }
.tract-view-groups { border: 0; margin: 0.4rem 0; padding: 0; max-height: 9rem; overflow-y: auto; font-size: 0.92rem; }
.tract-view-groups legend { float: left; padding: 0 0.8rem 0 0; color: var(--soft); }
.tract-view-groups label { display: inline-block; margin-right: 1.1rem; white-space: nowrap; }
.tract-view-groups i { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em; }
@media (max-width: 1000px) {
  nav { position: static; width: auto; border-right: 0; border-bottom: 1px solid var(--line);
    padding: 0.7rem 1rem; }
  nav strong { margin-bottom: 0.2rem; }
  nav a { display: inline-block; margin-right: 1rem; padding: 0.1rem 0; }
  main { margin-left: 0; padding: 0.5rem 1rem 3rem; }
}
@media print {
  nav { display: none; }
  main { margin: 0; max-width: none; }
  .reportlet { break-inside: avoid; }
}
</style>
{% for item in header %}
{{ item }}
{% endfor %}
</head>
<body>
<nav>
<strong>{{ title }}</strong>
{% for section in sections %}
<a href="#{{ section.name | replace(' ', '-') }}">{{ section.name }}</a>
{% endfor %}
{% for item in navbar %}
{{ item }}
{% endfor %}
</nav>
<main>
{% for section in sections %}
<section id="{{ section.name | replace(' ', '-') }}">
<h1>{{ section.name }}</h1>
{% for reportlet in section.reportlets %}
<div id="{{ reportlet.name }}">
{% if reportlet.title %}<h2>{{ reportlet.title }}</h2>
{% endif %}
{% if reportlet.subtitle %}<h3>{{ reportlet.subtitle }}</h3>
{% endif %}
{% if reportlet.description %}<p class="description">{{ reportlet.description }}</p>
{% endif %}
{% for content, caption in reportlet.components %}
{% if content %}
{% if caption %}<p class="description">{{ caption }}</p>
{% endif %}
{{ content }}
{% endif %}
{% endfor %}
</div>
{% endfor %}
</section>
{% endfor %}
</main>
{% for item in footer %}
{{ item }}
{% endfor %}
</body>
</html>
