{{ config(
    materialized='incremental',
    pre_hook=[
        "{{ find_changed_dates() }}",
        "{{ find_changes('customer_id', customers_of_features()) }}",
    ],
    indexes=[
        {'columns': ['customer_id', 'as_of_date'], 'unique': true},
        {'columns': ['as_of_date']},
    ],
) }}

{{ customer_features(ref('int_as_of_dates')) }}
