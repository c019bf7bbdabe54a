-- Canvasback dump of a DuckLake catalog, format 1
-- kind: sqlite
-- version: 1.0
.bail on
BEGIN;
CREATE TABLE "ducklake_x"("i" BIGINT, PRIMARY KEY ("i"));
INSERT INTO "ducklake_x" VALUES
(1,'it''s;'),
(2,NULL);
COMMIT;
-- tables: 1, rows: 2
