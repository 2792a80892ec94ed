-- Two roles for the books on PostgreSQL, run once as superuser on an empty cluster.
--
-- The owner migrates the schema and does nothing else; the app works under its own role, which
-- `starter.py migrate` grants what it needs: it can add to the record and never change it.
-- Passwords come from the environment of psql: REDRESS_OWNER_PASSWORD, REDRESS_APP_PASSWORD.

\set ON_ERROR_STOP on
\getenv owner_password REDRESS_OWNER_PASSWORD
\getenv app_password REDRESS_APP_PASSWORD

CREATE ROLE redress_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE redress_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';

CREATE DATABASE redress OWNER redress_owner;
REVOKE ALL ON DATABASE redress FROM PUBLIC;
GRANT CONNECT ON DATABASE redress TO redress_app;
