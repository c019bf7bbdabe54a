/*
 * help_lake.c - the words behind lake: what each takes, and what `help lake VERB` tells of it.
 */
#include "cli/reference.h"

#include "cli/words.h"

#include <string.h>

static const cb_lake_help helps[] = {
    {"status",
     "LAKE [NAME]",
     {CB_OPT_DATA_PATH, CB_OPT_NAME},
     "a lake at a glance, and what its newest backup lacks",
     "Kind of catalog, specification version, snapshots, tables, files, what is inlined, what "
     "waits to be cleaned up. With a repository also the newest backup of NAME (default: what "
     "backup would call it), and what was committed since.\n\n"
     "Warnings say what goes wrong if nobody acts: no backup, one that was never verified, a "
     "cleanup that removes files sooner than backups are taken. They do not change the exit code.",
     "canvasback lake status ducklake:meta.ducklake\n"
     "canvasback lake status 'ducklake:postgres:dbname=lake host=db1' nightly --json"},
    {"repoint",
     "LAKE --data-path NEW [--absolute] [--dry-run]",
     {CB_OPT_DATA_PATH, CB_OPT_ABSOLUTE, CB_OPT_DRY_RUN},
     "the files lie somewhere else now: tell the catalog",
     "Looks first whether every file that the catalog names is at the new place, with its size; "
     "else nothing is changed, and the exit code is 3. Then one transaction changes the data path. "
     "With --absolute absolute paths below the old one, of tables, schemas and files, are "
     "rewritten too; what still points elsewhere is listed.\n\n"
     "Nobody should be attached meanwhile: DuckDB keeps the old path in memory.",
     "canvasback lake repoint ducklake:meta.ducklake --data-path /new/ --dry-run\n"
     "canvasback lake repoint ducklake:meta.ducklake --data-path s3://bucket/lake/"},
    {"orphans",
     "LAKE",
     {CB_OPT_DATA_PATH},
     "files in storage that the catalog does not name",
     "By table, kind and age: 'failed write' (a transaction that never ended well, or that is "
     "still running), 'lost by a restore' (listed when a live lake was replaced), 'scheduled' "
     "(DuckLake's cleanup will remove it), 'other'. Nothing is removed.",
     "canvasback lake orphans ducklake:sqlite:meta.sqlite"},
    {"adopt",
     "LAKE [FILE...] [--from-list FILE] [--accept] [--undo]",
     {CB_OPT_DATA_PATH, CB_OPT_FROM_LIST, CB_OPT_ACCEPT, CB_OPT_UNDO, CB_OPT_DRY_RUN,
      CB_OPT_TABLES},
     "take files into the lake that its catalog does not name",
     "Without FILE and --from-list: those that restores over this lake have lost. A FILE is a path "
     "below the data path, or a whole address. All is one transaction and one new snapshot.\n\n"
     "Refused, and said so: results of a merge beside what was merged, files of which rows were "
     "deleted, columns that the table does not have, encrypted files without their key. --accept "
     "takes those against which only the risk speaks. --undo takes the last adoption back, while "
     "nothing was committed after it.",
     "canvasback lake adopt ducklake:sqlite:meta.sqlite --dry-run\n"
     "canvasback lake adopt ducklake:sqlite:meta.sqlite --from-list meta.lost\n"
     "canvasback lake adopt ducklake:sqlite:meta.sqlite --undo"},
    {"migrate",
     "LAKE [--to VERSION] [--dump-dir DIR]",
     {CB_OPT_DATA_PATH, CB_OPT_TO, CB_OPT_DUMP_DIR, CB_OPT_NAME, CB_OPT_ALLOW_UNENCRYPTED_KEYS},
     "to a newer version of DuckLake, and back if need be",
     "A lake that has the version already is left alone. Else: a backup into the repository, which "
     "is verified, and the catalog as SQL in --dump-dir; if either fails, nothing more is done. "
     "Then DuckDB migrates. Every table is compared, at every snapshot that the old version could "
     "read, with what it was. If anything fails or differs the old catalog is put back.\n\n"
     "Stop the writers first. Many workers may start it at once: one does it, the others wait.",
     "canvasback lake migrate ducklake:sqlite:meta.sqlite --dump-dir dumps\n"
     "canvasback lake migrate 'ducklake:postgres:dbname=lake host=db1' --name lake"},
    {"guard",
     "LAKE [--to VERSION] [--dump-dir DIR]",
     {CB_OPT_DATA_PATH, CB_OPT_TO, CB_OPT_DUMP_DIR, CB_OPT_NAME, CB_OPT_ALLOW_UNENCRYPTED_KEYS},
     "backup and dump where a migration is needed",
     "For a program that attaches with AUTOMATIC_MIGRATION by itself, at its start. Exit code 0: "
     "nothing to do. 10: a migration is needed, and backup and dump for it were taken. Anything "
     "else: do not attach.",
     "canvasback lake guard ducklake:meta.ducklake --dump-dir dumps || [ $? = 10 ]"},
    {"rollback",
     "NAME [LAKE]",
     {0},
     "the catalog as it was before the last migration",
     "From the newest backup of NAME that migrate or guard took. Data files are not touched by a "
     "migration, so only the catalog goes back; that they are there is looked at first. What was "
     "committed since is lost with the catalog: it is backed up before it is replaced. LAKE: "
     "another place than where the backup came from.",
     "canvasback lake rollback lake"},
    {"dump",
     "LAKE [FILE] [--dump-dir DIR]",
     {CB_OPT_DUMP_DIR},
     "the catalog as SQL, for psql, sqlite3 or duckdb",
     "All tables of the catalog from one snapshot, with exact types, keys and indexes. Without "
     "FILE: ducklake-backup-TIME-vVERSION.sql in --dump-dir. Data files are not in it; for them "
     "take a backup.",
     "canvasback lake dump ducklake:sqlite:meta.sqlite catalog.sql"},
    {"undump",
     "FILE LAKE [--force]",
     {CB_OPT_FORCE},
     "a dump back into an empty place",
     "The kind of catalog has to be that of the dump; restore of a backup makes one of any kind. "
     "--force replaces a lake that is there.",
     "canvasback lake undump catalog.sql ducklake:sqlite:again.sqlite"},
};

const cb_lake_help *cb_lake_help_at(size_t i)
{
    return i < CB_LENGTH(helps) ? &helps[i] : NULL;
}

const cb_lake_help *cb_lake_help_find(const char *name)
{
    for (size_t i = 0; i < CB_LENGTH(helps); i++)
        if (strcmp(helps[i].name, name) == 0)
            return &helps[i];
    return NULL;
}

bool cb_lake_help_takes(const cb_lake_help *verb, cb_option_id id)
{
    for (size_t i = 0; i < CB_LAKE_OPTIONS && verb->options[i] != 0; i++)
        if (verb->options[i] == id)
            return true;
    return id == CB_OPT_METADATA_SCHEMA || cb_options[id].commands == CB_FOR_ALL;
}

cb_code cb_lake_help_check(const char *name, cb_error *err)
{
    cb_word words[CB_LENGTH(helps)];
    int ignored;

    for (size_t i = 0; i < CB_LENGTH(helps); i++)
        words[i] = (cb_word){helps[i].name, (int)i};
    return cb_word_choose("lake", name, words, CB_LENGTH(helps), &ignored, err);
}
