<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
{% for item in header %}
{{ item }}
{% endfor %}
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="generator" content="shd-bids, through NiReports"/>
<title>{{ title }}</title>
<link rel="icon" href="data:,"/>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
{% for item in navbar %}
{{ item }}
{% endfor %}
<main id="content" tabindex="-1">
<h1>{{ title }}</h1>
{% for section in sections %}
{% set series = section.reportlets | selectattr("title") | list %}
{% set level = 4 if series else 3 %}
<section id="{{ section.name | replace(' ', '-') }}" aria-labelledby="{{ section.name | replace(' ', '-') }}-title">
<h2 id="{{ section.name | replace(' ', '-') }}-title">{{ section.name }}</h2>
{% for reportlet in section.reportlets %}
<div id="{{ reportlet.name }}" class="reportlet">
{% if reportlet.title %}<h3 class="series">{{ reportlet.title }}</h3>
{% endif %}
{% if reportlet.subtitle %}<h{{ level }}>{{ reportlet.subtitle }}</h{{ level }}>
{% endif %}
{% if reportlet.description %}<p class="description" id="{{ reportlet.name }}-about">{{ reportlet.description }}</p>
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
