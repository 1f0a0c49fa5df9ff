{{ config(indexes=[
    {'columns': ['customer_id', 'as_of_date'], 'unique': true},
    {'columns': ['as_of_date']},
]) }}

{{ customer_features(ref('int_as_of_dates')) }}
