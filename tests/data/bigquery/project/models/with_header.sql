{{ config(materialized='table', sql_header="create temporary function one() as (1);") }}
select one() as id
