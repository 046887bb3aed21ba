{% test my_generic(model, arg) %} select * from {{ model }} where {{ arg }} = 2 {% endtest %}
