/*
 * The commands in the order in which help lists them: the everyday ones first. Reserved words
 * stand at the end: a later version gives them meaning, so that none may be taken by anything else.
 */
#include "config/command_table.h"

#include "base/text.h"

#include <limits.h>
#include <string.h>

// clang-format off
const cb_command cb_commands[CB_COMMAND_END] = {
    [CB_COMMAND_BACKUP] = {
        .name = "backup",
        .operands = "SOURCE",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "take a backup of a source into the repository",
        .detail =
            "SOURCE is a DuckDB file (prod.duckdb; recognised by its content, whatever its suffix), "
            "a SQLite file (sqlite:app.db), a directory (dir:/etc/app) or a DuckLake "
            "(ducklake:meta.ducklake, ducklake:sqlite:meta.sqlite, 'ducklake:postgres:dbname=lake "
            "host=db1'). A DuckDB file is read from outside while its process goes on working: it "
            "is neither locked nor opened. Of a lake the catalog is read in one snapshot of its own "
            "engine, then exactly the files that it names.\n\n"
            "Every backup can be restored by itself; what the repository already has is not stored "
            "again. A repository that does not exist yet is made on the first backup.\n\n"
            "With several repositories (see help --repo) the source is read once. The result says "
            "which of them failed; the exit code is 0 when all were written and 1 when any was "
            "not.\n\n"
            "Damage found in the source ends the command with exit code 3 and stores nothing; with "
            "--allow-damage the backup is stored, marked as damaged, and the exit code is 0.",
        .examples =
            "canvasback backup prod.duckdb\n"
            "canvasback backup prod.duckdb --name prod --tag release=41\n"
            "canvasback backup sqlite:app.db --repo s3://my-bucket/backups\n"
            "canvasback backup 'ducklake:postgres:dbname=lake host=db1' --name lake",
    },
    [CB_COMMAND_RESTORE] = {
        .name = "restore",
        .operands = "NAME[@LABEL] [TARGET]",
        .min_operands = 1,
        .max_operands = 2,
        .summary = "bring a backup back",
        .detail =
            "LABEL is a label that list shows, the beginning of one that fits no other, or latest "
            "(the default). Without TARGET nothing is written: the original place is named, with "
            "the command that would restore there.\n\n"
            "An existing TARGET is refused unless --force (replace it) or --delta (rewrite only "
            "what differs) is given. A database that some process has open is never written over.\n\n"
            "Instead of NAME, a plain DuckDB file may be given; anything with ':' or '/' in it, or "
            "that exists as a file, is an address, all else is a name. It may lie in an object "
            "store: s3://bucket/prod.duckdb.\n\n"
            "A lake may be brought back to another kind of catalog, to another place of its files "
            "(--data-path), and as it was at an earlier snapshot.",
        .examples =
            "canvasback restore prod /tmp/prod.duckdb\n"
            "canvasback restore prod@20261121-022035 prod.duckdb --delta\n"
            "canvasback restore prod prod.duckdb --time '2026-11-21 02:30:00' --force\n"
            "canvasback restore lake ducklake:laptop.ducklake --data-path lake-files/",
    },
    [CB_COMMAND_LIST] = {
        .name = "list",
        .aliases = "ls info snapshots",
        .operands = "[NAME]",
        .max_operands = 1,
        .summary = "backups, newest last",
        .detail =
            "SOURCE is the size of what was backed up, NEW what the repository did not have yet, "
            "STORED the same after compression, RATIO how much smaller STORED is than SOURCE. "
            "VERIFIED is the age of the last good verify.",
        .examples = "canvasback list\ncanvasback list prod --json",
    },
    [CB_COMMAND_SHOW] = {
        .name = "show",
        .operands = "NAME[@LABEL]",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "one backup in detail",
        .detail = "The first 50 items are listed; --all lists every one. --json always has all.",
        .examples = "canvasback show prod\ncanvasback show prod@20261121 --all",
    },
    [CB_COMMAND_VERIFY] = {
        .name = "verify",
        .operands = "[NAME[@LABEL]]",
        .max_operands = 1,
        .summary = "read backups back from the repository and check them",
        .detail =
            "Without NAME the whole repository is read. With --deep each backup is also restored "
            "to a scratch place and opened by its own engine, which reads every table.\n\n"
            "--percent and --max-bytes read a part, the least recently verified first; --deep "
            "--schedule opens one backup: small checks that come round to everything.\n\n"
            "Damage ends the command with exit code 3, after the result.",
        .examples = "canvasback verify\ncanvasback verify prod --deep\n"
                    "canvasback verify --percent 5",
    },
    [CB_COMMAND_CHECK] = {
        .name = "check",
        .operands = "SOURCE",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "is the live source itself sound? (reads only)",
        .detail = "Reads all of the source and checks every checksum that it has. Damage ends the "
                  "command with exit code 3, after the result.",
        .examples = "canvasback check prod.duckdb",
    },
    [CB_COMMAND_EXPIRE] = {
        .name = "expire",
        .aliases = "forget",
        .operands = "[NAME]",
        .max_operands = 1,
        .summary = "apply retention, then give back the space",
        .detail =
            "A backup is kept if any rule keeps it; all rules given count together, wherever they "
            "come from. Calendar rules use local days and keep the newest backup of each hour, "
            "day, week (Monday to Sunday), month or year. The newest good backup of a name is "
            "never removed.\n\n"
            "Without NAME every name is treated by itself, with the rules of its own section of "
            "the configuration file.",
        .examples =
            "canvasback expire prod --keep-daily 7 --keep-weekly 4 --dry-run\n"
            "canvasback expire --keep-last 10 --keep-within 36h",
    },
    [CB_COMMAND_COPY] = {
        .name = "copy",
        .operands = "SOURCE TARGET",
        .min_operands = 2,
        .max_operands = 2,
        .summary = "one plain DuckDB file, hot, without a repository",
        .detail =
            "SOURCE is a DuckDB file, open in some process or not, or NAME[@LABEL] of a backup. "
            "TARGET is one file that stock DuckDB opens, with the log folded in and no .wal beside "
            "it. A TARGET that ends in '/' is a folder. An existing file is refused unless --force "
            "is given. Both may lie in an object store: s3://bucket/prod.duckdb.",
        .examples =
            "canvasback copy prod.duckdb /mnt/copy/prod.duckdb\n"
            "canvasback copy prod.duckdb s3://my-bucket/copies/prod.duckdb\n"
            "canvasback copy prod.duckdb /mnt/copy/ --timestamp --keep 7",
    },
    [CB_COMMAND_INIT] = {
        .name = "init",
        .operands = "",
        .summary = "make a repository",
        .detail = "An ordinary first backup makes the repository by itself; init is for those who "
                  "want to make it beforehand, or --encrypt it.",
        .examples = "canvasback init --repo /mnt/backup/repo\n"
                    "canvasback init --encrypt --repo s3://my-bucket/backups",
    },
    [CB_COMMAND_REPO] = {
        .name = "repo",
        .operands = "[check | key ... | sync ...]",
        .max_operands = UINT_MAX,
        .summary = "describe the repository, check its store, manage keys, sync",
        .detail =
            "repo alone describes the repository.\n\n"
            "repo --check, or repo check, tests what its store can do and how fast it is, and "
            "says which credentials were used (never their values).\n\n"
            "repo key list shows the keys of an encrypted repository. repo key add adds a "
            "passphrase; with --write-only it makes the key file FILE, with which a host can add "
            "backups and not read old ones. repo key remove ID takes a key away, never the last "
            "that can read. repo key change gives another passphrase to the key in use.\n\n"
            "repo sync FROM TO [NAME[@LABEL]...] copies the backups that TO does not have from "
            "one repository to another, of another kind or passphrase too. Repeated after an "
            "interruption it goes on where it was.",
        .examples = "canvasback repo --check\n"
                    "canvasback repo key add --label second\n"
                    "canvasback repo key add --write-only db1.key --label db1\n"
                    "canvasback repo sync /mnt/backup/repo s3://my-bucket/backups prod",
    },
    [CB_COMMAND_REPAIR] = {
        .name = "repair",
        .operands = "",
        .summary = "mend what can be mended in the repository",
        .detail = "Rebuilds the index from the packs and says which backups are incomplete.",
        .examples = "canvasback repair",
    },
    [CB_COMMAND_LAKE] = {
        .name = "lake",
        .operands = "VERB ...",
        .max_operands = UINT_MAX,
        .summary = "look at a DuckLake, move it, migrate it, find what it lost",
        .detail =
            "LAKE is DuckDB's own ATTACH string, as for backup. 'canvasback help lake VERB' tells "
            "more of each verb.\n\n"
            "lake status LAKE [NAME]: kind of catalog, version, snapshots, files, and what the "
            "newest backup of NAME lacks.\n\n"
            "lake repoint LAKE --data-path NEW: the files lie somewhere else now. Checks first that "
            "every one of them is there; --absolute rewrites absolute paths below the old place "
            "too.\n\n"
            "lake orphans LAKE: files in storage that the catalog does not name.\n\n"
            "lake adopt LAKE [FILE...]: takes such files into the lake again, those that a restore "
            "lost (--from-list), or those given. What would bring back deleted rows or count rows "
            "twice is refused unless --accept is given: exit code 3 when something did not come back. "
            "--undo takes the last adoption back.\n\n"
            "lake migrate LAKE: a verified backup and an SQL dump first, then the migration by "
            "DuckDB itself; every table is compared at every snapshot, and the old catalog is put "
            "back when anything differs. lake guard LAKE only takes the backup and the dump when a "
            "migration is needed: exit code 10, and 0 when there is nothing to do. lake rollback "
            "NAME [LAKE] brings the catalog from before the last migration back.\n\n"
            "lake dump LAKE [FILE]: the catalog as SQL, which psql, sqlite3 or duckdb read. lake "
            "undump FILE LAKE: back into an empty place.",
        .examples =
            "canvasback lake status ducklake:meta.ducklake\n"
            "canvasback lake repoint ducklake:meta.ducklake --data-path /new/ --dry-run\n"
            "canvasback lake adopt ducklake:sqlite:meta.sqlite --from-list lost.list\n"
            "canvasback lake migrate 'ducklake:postgres:dbname=lake host=db1'\n"
            "canvasback lake rollback lake",
    },
    [CB_COMMAND_METRICS] = {
        .name = "metrics",
        .operands = "",
        .summary = "state of the backups for machines, as Prometheus text",
        .detail =
            "For each name: when the newest backup was taken and how old it is, its size, what it "
            "stored, how long it took, when it was last verified; exit code and time of the last "
            "backup, verify and expire on this machine.\n\n"
            "The last runs are noted in $XDG_STATE_HOME/canvasback (~/.local/state/canvasback), by "
            "repository and name.",
        .examples = "canvasback metrics\n"
                    "canvasback metrics --output /var/lib/node_exporter/canvasback.prom",
    },
    [CB_COMMAND_REPORT] = {
        .name = "report",
        .operands = "",
        .summary = "state of the backups for people, as one page",
        .detail = "One HTML page that needs nothing else: backups over time for each name, growth "
                  "of the repository, how much is shared, what was verified when, what would be "
                  "lost if this machine died now, runs that failed.",
        .examples = "canvasback report --html backups.html",
    },
    [CB_COMMAND_SCHEDULE] = {
        .name = "schedule",
        .operands = "[SOURCE]",
        .max_operands = 1,
        .summary = "systemd timer or crontab line for backup and retention",
        .detail =
            "Prints what would run SOURCE's backup, followed by expire when --keep rules are "
            "given; --install installs it: a systemd timer and service (of the user, or of the "
            "system when run by root), a crontab line where there is no systemd, a launchd "
            "property list on macOS.\n\n"
            "The scheduled backup never makes a repository (--no-create): an unmounted disk must "
            "not get a fresh one. Output goes to a log file.\n\n"
            "The options given here, --repo and --config among them, are written into the "
            "schedule; variables of the environment are not.",
        .examples =
            "canvasback schedule prod.duckdb --daily 02:00 --keep-daily 7 --keep-weekly 4\n"
            "canvasback schedule prod.duckdb --hourly --keep-within 2d --install\n"
            "canvasback schedule --list\n"
            "canvasback schedule --remove prod",
    },
    [CB_COMMAND_HELP] = {
        .name = "help",
        .operands = "[COMMAND|OPTION]",
        .max_operands = 2,
        .summary = "explain a command or an option",
        .detail = "--man prints the manual page (roff), --config-example a configuration file with "
                  "every setting.",
        .examples = "canvasback help backup\ncanvasback help lake migrate\n"
                    "canvasback help --keep-daily",
    },
    [CB_COMMAND_VERSION] = {
        .name = "version",
        .operands = "",
        .summary = "print the version",
    },
    [CB_COMMAND_COMPLETION] = {
        .name = "completion",
        .operands = "bash|zsh|fish",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "print a completion script for a shell",
        .examples = "canvasback completion bash > ~/.local/share/bash-completion/completions/canvasback",
    },
    [CB_COMMAND_ARCHIVE_PUSH] = {.name = "archive-push", .operands = "", .is_reserved = true,
        .summary = "archive a segment of PostgreSQL's log"},
    [CB_COMMAND_ARCHIVE_GET] = {.name = "archive-get", .operands = "", .is_reserved = true,
        .summary = "fetch a segment of PostgreSQL's log"},
    [CB_COMMAND_RECEIVE_WAL] = {.name = "receive-wal", .operands = "", .is_reserved = true,
        .summary = "stream PostgreSQL's log"},
    [CB_COMMAND_SERVE] = {.name = "serve", .operands = "", .is_reserved = true,
        .summary = "serve BACKUP DATABASE and RESTORE DATABASE over SQL"},
};
// clang-format on

/* Is `name` one of the space-separated words? */
static bool is_word_of(const char *words, const char *name)
{
    size_t size = strlen(name);
    const char *at = words;

    while (at && *at) {
        size_t length = strcspn(at, " ");

        if (length == size && memcmp(at, name, size) == 0)
            return true;
        at += length;
        at += strspn(at, " ");
    }
    return false;
}

cb_command_id cb_command_named(const char *name)
{
    for (unsigned i = 0; i < CB_COMMAND_END; i++)
        if (strcmp(cb_commands[i].name, name) == 0 || is_word_of(cb_commands[i].aliases, name))
            return (cb_command_id)i;
    return CB_COMMAND_END;
}

const char *cb_command_suggest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3; /* more than two slips is another word */

    for (unsigned i = 0; i < CB_COMMAND_END; i++) {
        unsigned distance = cb_text_distance(name, cb_commands[i].name);

        if (distance < best_distance && distance < strlen(name)) {
            best_distance = distance;
            best = cb_commands[i].name;
        }
    }
    return best;
}
