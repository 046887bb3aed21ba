{% macro sign() %}{% do run_query('create or replace table signed as select 7 as id') %}{% endmacro %}
