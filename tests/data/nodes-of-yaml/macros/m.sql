{% macro mac() %} 1 {% endmacro %}
