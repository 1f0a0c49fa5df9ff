-- The image of PostgreSQL runs this once, when it creates the database cluster, as the superuser postgres.
-- The pipeline's login owns its database and makes roles and further databases; it is no superuser.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/owner_password`
create role retail login createdb createrole password :'password';
create database retail owner retail;
