{% macro hours_between(first, last) %}
    {{ return(adapter.dispatch('hours_between', 'tides')(first, last)) }}
{% endmacro %}

{% macro default__hours_between(first, last) %}
    (extract(epoch from ({{ last }} - {{ first }})) / 3600)
{% endmacro %}

{% macro bigquery__hours_between(first, last) %}
    timestamp_diff({{ last }}, {{ first }}, hour)
{% endmacro %}
