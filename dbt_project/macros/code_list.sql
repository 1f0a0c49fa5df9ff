{#- The name of the list of the seed `non_product_codes` whose codes are excluded; `none` excludes no line. -#}
{% macro code_list() -%}
    {{ return(var('non_product_codes') or env_var('RETAIL_DBT_NON_PRODUCT_CODES', 'none')) }}
{%- endmacro %}
