{{ config(
    materialized='incremental',
    meta={'increment': {
        'key': 'customer_id',
        'inputs': [
            'customer_day_entries',
            'int_customer_contexts',
            'int_customer_assortments',
            'int_customer_attributes',
        ],
        'publishes': ['customer_id'],
        'as_of': 'as_of_date',
        'sliced_by': 'customer_day_entries',
    }},
    pre_hook=["{{ find_changed_dates() }}", "{{ find_changes() }}"],
    indexes=[
        {'columns': ['customer_id', 'as_of_date'], 'unique': true},
        {'columns': ['as_of_date']},
    ],
) }}

{{ customer_features(ref('int_as_of_dates')) }}
