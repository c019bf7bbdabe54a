-- version: 0.3
\set ON_ERROR_STOP on
BEGIN;
COPY "public"."ducklake_x" ("i") FROM stdin;
1	a\nb
\.
CREATE INDEX x ON y (upper(t)) WHERE t <> E'a\\b''c;';
COMMIT;
