/*
 * The option table, and looking things up in it. An option's place in the table is its id; its
 * order is the order of help.
 */
#include "config/option.h"

#include "base/text.h"

#include <string.h>

#define FOR_COPYING (CB_FOR(BACKUP) | CB_FOR(COPY))
#define FOR_BACKUP  (CB_FOR(BACKUP) | CB_FOR(SCHEDULE))
#define FOR_LIVE    (FOR_BACKUP | CB_FOR(CHECK) | CB_FOR(LAKE))
#define FOR_EXPIRE  (CB_FOR(EXPIRE) | CB_FOR(SCHEDULE))
#define FOR_HOOKS   (FOR_BACKUP | CB_FOR(VERIFY) | CB_FOR(EXPIRE) | CB_FOR(COPY) | CB_FOR(RESTORE))

// clang-format off
const cb_option cb_options[CB_OPT_END] = {
    [CB_OPT_REPO] = {
        .name = "repo", .type = CB_TYPE_TEXT, .flags = CB_OPTION_REPEAT, .commands = CB_FOR_ALL,
        .value = "ADDRESS",
        .summary = "the repository; backup takes several",
        .detail =
            "A folder (a path or file:///path), s3://bucket/prefix, s3c://bucket/prefix (any "
            "S3-compatible store, at --endpoint), gs://bucket/prefix (Google Cloud Storage) or "
            "az://container/prefix (Azure Blob). Default: ~/.local/share/canvasback/repo.\n\n"
            "The address of an object store may carry its own settings, which win over the "
            "options: 's3c://bucket/prefix?endpoint=http://127.0.0.1:9000&region=x'. Credentials "
            "are looked for where each cloud's own tools look for them.\n\n"
            "Several --repo, or several lines 'repo =' in the configuration file: backup reads "
            "the source once and writes to all of them; one that fails does not stop the others, "
            "and makes the exit code 1. All other commands take the first.",
    },
    [CB_OPT_CONFIG] = {
        .name = "config", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL, .value = "FILE",
        .summary = "configuration file",
        .detail =
            "Default: the first that exists of $XDG_CONFIG_HOME/canvasback/canvasback.ini "
            "(~/.config/canvasback/canvasback.ini) and /etc/canvasback.ini. One that is given "
            "must exist.",
    },
    [CB_OPT_JSON] = {
        .name = "json", .type = CB_TYPE_FLAG, .commands = CB_FOR_ALL,
        .summary = "print the result as one JSON object",
        .detail =
            "For list it is an array. A failure is {\"error\":{\"code\",\"message\",\"hint\"}} on "
            "standard output. Text that is not UTF-8 has U+FFFD in place of the bytes that do not "
            "fit, and a second field, its name with _hex appended, with all bytes in hexadecimal.",
    },
    [CB_OPT_JOBS] = {
        .name = "jobs", .type = CB_TYPE_COUNT, .commands = CB_FOR_ALL, .value = "N",
        .min = 1, .max = 64,
        .summary = "worker threads (default: the cores)",
    },
    [CB_OPT_LOG_LEVEL] = {
        .name = "log-level", .type = CB_TYPE_CHOICE, .commands = CB_FOR_ALL, .value = "LEVEL",
        .choices = "error|warn|info|debug", .fallback = "info",
        .summary = "what is told on standard error",
    },
    [CB_OPT_PROGRESS] = {
        .name = "progress", .type = CB_TYPE_CHOICE, .commands = CB_FOR_ALL, .value = "KIND",
        .choices = "auto|bar|json|none", .fallback = "auto",
        .summary = "how progress is shown on standard error",
        .detail = "auto: a bar on a terminal, elsewhere a line every ten seconds. json: one object "
                  "a line.",
    },
    [CB_OPT_QUIET] = {
        .name = "quiet", .letter = 'q', .type = CB_TYPE_FLAG, .commands = CB_FOR_ALL,
        .summary = "no progress, and only errors on standard error",
    },
    [CB_OPT_VERBOSE] = {
        .name = "verbose", .letter = 'v', .type = CB_TYPE_FLAG, .commands = CB_FOR_ALL,
        .summary = "the same as --log-level debug",
    },
    [CB_OPT_LOCK_WAIT] = {
        .name = "lock-wait", .type = CB_TYPE_DURATION, .commands = CB_FOR_ALL, .value = "SECONDS",
        .fallback = "300", .max = 31622400,
        .summary = "how long to wait for another run",
        .detail = "Who waits says at once for which process on which host.",
    },
    [CB_OPT_PASSPHRASE_FILE] = {
        .name = "passphrase-file", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL, .value = "FILE",
        .summary = "file with the passphrase of an encrypted repository",
        .detail = "Its first line. Of the ways to give a passphrase or key, the one given closest "
                  "wins: flag, environment, configuration file. With none of them it is asked for "
                  "on the terminal; where there is none, the exit code is 2.",
    },
    [CB_OPT_PASSPHRASE_COMMAND] = {
        .name = "passphrase-command", .type = CB_TYPE_TEXT, .commands = CB_FOR_ALL,
        .value = "COMMAND",
        .summary = "shell command that prints the passphrase",
    },
    [CB_OPT_PASSPHRASE] = {
        .name = "passphrase", .type = CB_TYPE_TEXT, .flags = CB_OPTION_SECRET,
        .commands = CB_FOR_ALL, .value = "TEXT",
        .summary = "the passphrase itself; as a variable only",
    },
    [CB_OPT_KEY_FILE] = {
        .name = "key-file", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL, .value = "FILE",
        .summary = "key of a write-only host, in place of a passphrase",
        .detail = "Made by 'canvasback repo key add --write-only'. With it a host can add backups "
                  "and cannot read the data of old ones.",
    },
    [CB_OPT_ENDPOINT] = {
        .name = "endpoint", .type = CB_TYPE_TEXT, .commands = CB_FOR_ALL, .value = "URL",
        .summary = "address of an object store's server",
        .detail = "For s3c:// it is needed. https unless it says http://.",
    },
    [CB_OPT_REGION] = {
        .name = "region", .type = CB_TYPE_TEXT, .commands = CB_FOR_ALL, .value = "REGION",
        .summary = "region of an object store",
    },
    [CB_OPT_ACCESS_KEY_ID] = {
        .name = "access-key-id", .type = CB_TYPE_TEXT, .commands = CB_FOR_ALL, .value = "KEY",
        .summary = "public half of an object store's key pair",
        .detail = "The secret half comes only from AWS_SECRET_ACCESS_KEY or a credentials file.",
    },
    [CB_OPT_S3_PATH_STYLE] = {
        .name = "s3-path-style", .type = CB_TYPE_FLAG, .commands = CB_FOR_ALL,
        .summary = "name the bucket in the path, not in the host name",
    },
    [CB_OPT_LIMIT_UPLOAD] = {
        .name = "limit-upload", .type = CB_TYPE_SIZE, .commands = CB_FOR_ALL, .value = "SIZE",
        .min = 1024, .max = INT64_C(1) << 50,
        .summary = "send at most so much a second to an object store",
        .detail = "Such as 5MiB. All connections of the run together.",
    },
    [CB_OPT_LIMIT_DOWNLOAD] = {
        .name = "limit-download", .type = CB_TYPE_SIZE, .commands = CB_FOR_ALL, .value = "SIZE",
        .min = 1024, .max = INT64_C(1) << 50,
        .summary = "fetch at most so much a second from an object store",
    },
    [CB_OPT_CACHE_DIR] = {
        .name = "cache-dir", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL, .value = "DIR",
        .summary = "where what was fetched from object stores is kept",
        .detail = "Default: $XDG_CACHE_HOME/canvasback (~/.cache/canvasback). It may be removed at "
                  "any time.",
    },
    [CB_OPT_DUCKDB_LIBRARY] = {
        .name = "duckdb-library", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL, .value = "FILE",
        .summary = "libduckdb to load where an engine is needed",
        .detail = "Default: the one that fits the file, beside the program.",
    },
    [CB_OPT_EXTENSION_DIRECTORY] = {
        .name = "extension-directory", .type = CB_TYPE_PATH, .commands = CB_FOR_ALL,
        .value = "DIR",
        .summary = "where DuckDB's extensions are",
    },
    [CB_OPT_HELP] = {
        .name = "help", .letter = 'h', .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR_ALL,
        .summary = "explain the command",
    },
    [CB_OPT_VERSION] = {
        .name = "version", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR_ALL,
        .summary = "print the version",
    },

    [CB_OPT_NAME] = {
        .name = "name", .type = CB_TYPE_NAME, .flags = CB_OPTION_LINE_ONLY,
        .commands = FOR_BACKUP | CB_FOR(LAKE), .value = "NAME",
        .summary = "what the database is called in the repository",
        .detail = "Letters, digits, '.', '_', '-', at most 64. Default: the file name without its "
                  "suffix; of a lake that of its catalog's file, or the name of its database.",
    },
    [CB_OPT_ADOPT_NAME] = {
        .name = "adopt-name", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(BACKUP),
        .summary = "bind the name to this source though it belonged to another",
    },
    [CB_OPT_TAG] = {
        .name = "tag", .type = CB_TYPE_PAIR, .flags = CB_OPTION_REPEAT,
        .commands = FOR_BACKUP, .value = "KEY=VALUE",
        .summary = "note kept with the backup; may be repeated",
    },
    [CB_OPT_FULL] = {
        .name = "full", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(BACKUP),
        .summary = "store everything anew, trusting no older chunk",
    },
    [CB_OPT_METHOD] = {
        .name = "method", .type = CB_TYPE_CHOICE, .commands = FOR_COPYING | CB_FOR(SCHEDULE),
        .value = "METHOD", .choices = "auto|hot|attach|cp", .fallback = "auto",
        .summary = "how a DuckDB file is copied",
        .detail = "hot (cp means the same): its blocks, from outside, whoever has it open. attach: "
                  "through the engine: logical, compacted; not while another process has it open. "
                  "auto is hot.",
    },
    [CB_OPT_COMPRESS] = {
        .name = "compress", .type = CB_TYPE_COMPRESS, .commands = FOR_BACKUP, .value = "HOW",
        .fallback = "zstd",
        .summary = "none, lz4, zstd or zstd:LEVEL",
        .detail = "zstd by itself is a fast level; zstd:3 is smaller and slower. Levels go from "
                  "-7 to 19.",
    },
    [CB_OPT_NO_CREATE] = {
        .name = "no-create", .type = CB_TYPE_FLAG, .commands = CB_FOR(BACKUP) | CB_FOR(REPO),
        .summary = "fail when the repository does not exist, instead of making it",
    },
    [CB_OPT_SKIP_IF_BUSY] = {
        .name = "skip-if-busy", .type = CB_TYPE_FLAG, .commands = FOR_BACKUP,
        .summary = "end well, and say so, where the backup would have to wait",
    },
    [CB_OPT_DEADLINE] = {
        .name = "deadline", .type = CB_TYPE_DURATION, .commands = FOR_COPYING | CB_FOR(SCHEDULE),
        .value = "DURATION", .fallback = "10m", .min = 1, .max = 604800,
        .summary = "how long a hot copy may take to be confirmed",
        .detail = "A copy that is not confirmed by then is not published: exit code 4.",
    },
    [CB_OPT_ALLOW_DAMAGE] = {
        .name = "allow-damage", .type = CB_TYPE_FLAG, .commands = FOR_COPYING,
        .summary = "store a damaged source all the same, marked as such",
    },
    [CB_OPT_SOURCE_SNAPSHOT] = {
        .name = "source-snapshot", .type = CB_TYPE_PATH, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(BACKUP), .value = "PATH",
        .summary = "read the same database from a snapshot mounted there",
    },
    [CB_OPT_LOCK_FOR] = {
        .name = "lock-for", .type = CB_TYPE_DURATION,
        .commands = FOR_BACKUP | CB_FOR(EXPIRE) | CB_FOR(REPO), .value = "DURATION",
        .min = 86400, .max = INT64_C(3162240000),
        .summary = "object lock: let nobody remove a kept backup for so long",
        .detail = "Such as 30d, for a bucket with object lock. Every object that a kept backup "
                  "needs is retained so long, and longer in time; show says until when.",
    },
    [CB_OPT_BEFORE] = {
        .name = "before", .type = CB_TYPE_TEXT, .commands = FOR_HOOKS, .value = "COMMAND",
        .summary = "shell command to run first; if it fails, nothing else is done",
        .detail = "Variables tell it what is about to run: CANVASBACK_HOOK (before), "
                  "CANVASBACK_HOOK_COMMAND (backup, ...), CANVASBACK_HOOK_NAME. A line of the "
                  "configuration file, or the variable, counts for backup; the flag for the "
                  "command that it is given to. What it prints goes to standard error.",
    },
    [CB_OPT_AFTER] = {
        .name = "after", .type = CB_TYPE_TEXT, .commands = FOR_HOOKS, .value = "COMMAND",
        .summary = "shell command to run after it, whether it went well or not",
        .detail = "It has the result as JSON on its standard input, as --json prints it (after a "
                  "failure the error, with the fields command, name and exit_code), and besides "
                  "the variables of --before CANVASBACK_RESULT (ok or failed), "
                  "CANVASBACK_HOOK_EXIT_CODE and CANVASBACK_HOOK_LABEL. It does not run when "
                  "--before has failed. When it fails itself, the result stands and is printed, "
                  "and the exit code is 1 where it would have been 0.",
    },
    [CB_OPT_ON_FAILURE] = {
        .name = "on-failure", .type = CB_TYPE_TEXT, .commands = FOR_HOOKS, .value = "COMMAND",
        .summary = "shell command to run when the exit code is not 0",
        .detail = "The last of all, after --after, with the error as JSON on its standard input. "
                  "A line of the configuration file counts for backup, verify, expire, copy and "
                  "restore. A canvasback that is started by such a command runs no commands of "
                  "its own, except those given to it as flags.",
    },
    [CB_OPT_TIME] = {
        .name = "time", .type = CB_TYPE_TIME, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE), .value = "TIME",
        .summary = "the newest backup that is not after this time",
        .detail = "'YYYY-MM-DD HH:MM:SS[.ffffff][Z|+hh:mm|-hh:mm]'. Without a zone it is local "
                  "time. Refused when there is no such backup: another is never taken instead.\n\n"
                  "A lake is brought back as it was then, from a later backup too that has that "
                  "time in its history.",
    },
    [CB_OPT_DELTA] = {
        .name = "delta", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE),
        .summary = "rewrite only what differs in an existing target",
    },
    [CB_OPT_DELETE] = {
        .name = "delete", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE),
        .summary = "with --delta of a directory: remove what the backup does not have",
    },
    [CB_OPT_FORCE] = {
        .name = "force", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE) | CB_FOR(COPY) | CB_FOR(LAKE),
        .summary = "replace an existing target",
    },
    [CB_OPT_NO_VERIFY] = {
        .name = "no-verify", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE),
        .summary = "do not read the result back",
    },
    [CB_OPT_MEND] = {
        .name = "mend", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE),
        .summary = "make a DuckDB file with a torn metadata block open again",
    },
    [CB_OPT_SALVAGE] = {
        .name = "salvage", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE),
        .summary = "bring back what can be, and list what is lost",
        .detail = "For a backup that is damaged in the repository. What is lost is listed, item by "
                  "item; the exit code is 3 when anything is.",
    },
    [CB_OPT_TIMESTAMP] = {
        .name = "timestamp", .type = CB_TYPE_FLAG, .commands = CB_FOR(COPY),
        .summary = "TARGET is a folder; the file is backup-YYYYMMDD-HHMMSS.duckdb in it",
    },
    [CB_OPT_UTC] = {
        .name = "utc", .type = CB_TYPE_FLAG, .commands = CB_FOR(COPY),
        .summary = "with --timestamp: UTC in place of local time",
    },
    [CB_OPT_KEEP] = {
        .name = "keep", .type = CB_TYPE_COUNT, .commands = CB_FOR(COPY), .value = "N",
        .min = 1, .max = 1000000000,
        .summary = "with --timestamp: keep the newest N copies there",
    },
    [CB_OPT_KEEP_LOG] = {
        .name = "keep-log", .type = CB_TYPE_FLAG, .commands = CB_FOR(COPY),
        .summary = "place TARGET.wal too where it cannot be folded in",
    },

    [CB_OPT_METADATA_SCHEMA] = {
        .name = "metadata-schema", .type = CB_TYPE_TEXT,
        .commands = FOR_LIVE | CB_FOR(RESTORE), .value = "SCHEMA",
        .summary = "schema of the catalog's database that a lake's tables are in",
        .detail = "DuckLake's METADATA_SCHEMA. Default: main, of PostgreSQL public.",
    },
    [CB_OPT_DATA_PATH] = {
        .name = "data-path", .type = CB_TYPE_TEXT, .flags = CB_OPTION_LINE_ONLY,
        .commands = FOR_LIVE | CB_FOR(RESTORE) | CB_FOR(VERIFY), .value = "ADDRESS",
        .summary = "where a lake's files are, or with restore and lake repoint are to be",
        .detail = "A folder, or s3://, s3c://, gs://, az:// with bucket and prefix. Default: where "
                  "the catalog says. restore writes the files there and makes the restored catalog "
                  "point at it. Settings behind '?' (endpoint, region, profile, ...) count for "
                  "the bucket of the files, whatever the options say for the repository; with "
                  "verify they are all that counts.",
    },
    [CB_OPT_DATA] = {
        .name = "data", .type = CB_TYPE_DATA, .commands = FOR_BACKUP, .value = "HOW",
        .fallback = "copy",
        .summary = "a lake's files: copy, reference or replica=ADDRESS",
        .detail = "copy: their bytes are in the backup. reference: only path, size, version id and "
                  "checksum of each are, for files that are kept elsewhere, such as in a versioned "
                  "bucket; the backup checks that they are there. replica=ADDRESS: the same, and "
                  "every file has to be in the replica at ADDRESS, from where a restore can have "
                  "them.",
    },
    [CB_OPT_ALLOW_UNENCRYPTED_KEYS] = {
        .name = "allow-unencrypted-keys", .type = CB_TYPE_FLAG,
        .commands = FOR_BACKUP | CB_FOR(LAKE) | CB_FOR(REPO),
        .summary = "put an encrypted lake into a repository that is not encrypted",
        .detail = "The keys of an encrypted lake stand in its catalog: who reads such a repository "
                  "reads the lake. With repo sync: copy backups of such a lake to one, too.",
    },
    [CB_OPT_SNAPSHOT] = {
        .name = "snapshot", .type = CB_TYPE_COUNT, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(RESTORE), .value = "N", .max = INT64_MAX,
        .summary = "a lake as it was at its snapshot N",
        .detail = "Any snapshot that the backup holds: show tells the oldest and the newest. "
                  "Without a label, the newest backup that holds it is taken.",
    },
    [CB_OPT_TABLES] = {
        .name = "tables", .type = CB_TYPE_TABLES,
        .flags = CB_OPTION_LINE_ONLY | CB_OPTION_REPEAT,
        .commands = CB_FOR(RESTORE) | CB_FOR(LAKE), .value = "A,B",
        .summary = "only these tables of a lake",
        .detail = "\"schema.table\", or the table's name alone, parted by commas; may be "
                  "repeated. A name with a comma in it stands in double quotes.",
    },
    [CB_OPT_ALL_SNAPSHOTS] = {
        .name = "all-snapshots", .type = CB_TYPE_FLAG, .commands = CB_FOR(VERIFY),
        .summary = "with --deep: count a lake's tables at each of its snapshots",
    },
    [CB_OPT_ABSOLUTE] = {
        .name = "absolute", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(LAKE),
        .summary = "with repoint: absolute paths below the old data path too",
    },
    [CB_OPT_FROM_LIST] = {
        .name = "from-list", .type = CB_TYPE_PATH, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(LAKE), .value = "FILE",
        .summary = "with adopt: the list that a restore over the lake has saved",
    },
    [CB_OPT_ACCEPT] = {
        .name = "accept", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(LAKE),
        .summary = "with adopt: also what would be refused for its risk",
    },
    [CB_OPT_UNDO] = {
        .name = "undo", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(LAKE),
        .summary = "with adopt: take the last adoption back",
    },
    [CB_OPT_TO] = {
        .name = "to", .type = CB_TYPE_TEXT, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(LAKE), .value = "VERSION",
        .summary = "with migrate and guard: the version that the lake has to have",
        .detail = "Such as 1.0. Default: the one that the DuckDB at hand makes. Versions are "
                  "compared part by part, as numbers.",
    },
    [CB_OPT_DUMP_DIR] = {
        .name = "dump-dir", .type = CB_TYPE_PATH, .commands = CB_FOR(LAKE), .value = "DIR",
        .summary = "with dump, migrate and guard: where the SQL dump is written",
        .detail = "Default: $XDG_DATA_HOME/canvasback (~/.local/share/canvasback).",
    },

    [CB_OPT_ALL] = {
        .name = "all", .type = CB_TYPE_FLAG, .commands = CB_FOR(SHOW),
        .summary = "list every item, not only the first 50",
    },
    [CB_OPT_DEEP] = {
        .name = "deep", .type = CB_TYPE_FLAG, .commands = CB_FOR(VERIFY),
        .summary = "also open a restore of each backup with its own engine",
    },
    [CB_OPT_PERCENT] = {
        .name = "percent", .type = CB_TYPE_PERCENT, .commands = CB_FOR(VERIFY), .value = "P",
        .summary = "read only so much of the repository",
        .detail = "The least recently verified first: what was read is remembered, so that run "
                  "after run comes round to everything. Such as 5 or 0.5%.",
    },
    [CB_OPT_MAX_BYTES] = {
        .name = "max-bytes", .type = CB_TYPE_SIZE, .commands = CB_FOR(VERIFY), .value = "SIZE",
        .min = 1, .max = INT64_MAX,
        .summary = "read at most so much of the repository, as --percent does",
    },
    [CB_OPT_SCHEDULE] = {
        .name = "schedule", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(VERIFY),
        .summary = "with --deep: one backup, chosen by age and by when it was last opened",
        .detail = "For a timer: run after run opens another backup.",
    },
    [CB_OPT_ENCRYPT] = {
        .name = "encrypt", .type = CB_TYPE_FLAG, .commands = CB_FOR(INIT),
        .summary = "make an encrypted repository",
        .detail = "The passphrase comes from --passphrase-file, --passphrase-command, the variable "
                  "CANVASBACK_PASSPHRASE, or is asked for twice. Without it nobody can read the "
                  "backups again: keep it in a second place.",
    },
    [CB_OPT_CHECK] = {
        .name = "check", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(REPO),
        .summary = "test what the repository's store can do, and how fast",
    },
    [CB_OPT_WRITE_ONLY] = {
        .name = "write-only", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(REPO),
        .summary = "with key add: a key file that can add backups and not read them",
    },
    [CB_OPT_LABEL] = {
        .name = "label", .type = CB_TYPE_TEXT, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(REPO), .value = "TEXT",
        .summary = "with key add: what the key is called in key list",
    },
    [CB_OPT_NEW_PASSPHRASE_FILE] = {
        .name = "new-passphrase-file", .type = CB_TYPE_PATH, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(REPO), .value = "FILE",
        .summary = "with key add and key change: file with the new passphrase",
        .detail = "Else the variable CANVASBACK_NEW_PASSPHRASE; else it is asked for twice.",
    },
    [CB_OPT_NEW_PASSPHRASE] = {
        .name = "new-passphrase", .type = CB_TYPE_TEXT, .flags = CB_OPTION_SECRET,
        .commands = CB_FOR(REPO), .value = "TEXT",
        .summary = "the new passphrase itself; as a variable only",
    },
    [CB_OPT_TO_PASSPHRASE_FILE] = {
        .name = "to-passphrase-file", .type = CB_TYPE_PATH, .commands = CB_FOR(REPO),
        .value = "FILE",
        .summary = "with sync: file with the passphrase of TO, if it has its own",
    },
    [CB_OPT_TO_KEY_FILE] = {
        .name = "to-key-file", .type = CB_TYPE_PATH, .commands = CB_FOR(REPO), .value = "FILE",
        .summary = "with sync: key file of a write-only host for TO",
    },
    [CB_OPT_OUTPUT] = {
        .name = "output", .type = CB_TYPE_PATH, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(METRICS) | CB_FOR(REPO), .value = "FILE",
        .summary = "where to write; metrics: the file is replaced as a whole",
        .detail = "metrics: for the textfile collector of node_exporter, FILE has to end in .prom. "
                  "repo key add --write-only: the key file to make.",
    },
    [CB_OPT_HTML] = {
        .name = "html", .type = CB_TYPE_PATH, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(REPORT), .value = "FILE",
        .summary = "the page to write; one that is there is replaced as a whole",
    },

    [CB_OPT_KEEP_LAST] = {
        .name = "keep-last", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest N backups",
    },
    [CB_OPT_KEEP_HOURLY] = {
        .name = "keep-hourly", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest backup of each of the last N hours that have one",
    },
    [CB_OPT_KEEP_DAILY] = {
        .name = "keep-daily", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest backup of each of the last N days that have one",
    },
    [CB_OPT_KEEP_WEEKLY] = {
        .name = "keep-weekly", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest backup of each of the last N weeks that have one",
    },
    [CB_OPT_KEEP_MONTHLY] = {
        .name = "keep-monthly", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest backup of each of the last N months that have one",
    },
    [CB_OPT_KEEP_YEARLY] = {
        .name = "keep-yearly", .type = CB_TYPE_COUNT, .commands = FOR_EXPIRE, .value = "N",
        .max = 1000000000,
        .summary = "keep the newest backup of each of the last N years that have one",
    },
    [CB_OPT_KEEP_WITHIN] = {
        .name = "keep-within", .type = CB_TYPE_DURATION, .commands = FOR_EXPIRE,
        .value = "DURATION", .max = INT64_C(31622400000),
        .summary = "keep every backup younger than this (36h, 7d, 2w, 1y)",
    },
    [CB_OPT_DRY_RUN] = {
        .name = "dry-run", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(EXPIRE) | CB_FOR(REPO) | CB_FOR(LAKE),
        .summary = "only show what would be done",
    },

    [CB_OPT_HOURLY] = {
        .name = "hourly", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE),
        .summary = "at the full hour",
    },
    [CB_OPT_DAILY] = {
        .name = "daily", .type = CB_TYPE_CLOCK, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE), .value = "HH:MM",
        .summary = "every day at this local time",
    },
    [CB_OPT_WEEKLY] = {
        .name = "weekly", .type = CB_TYPE_WEEKLY, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE), .value = "'DAY HH:MM'",
        .summary = "every week on this day, such as 'sun 03:00'",
    },
    [CB_OPT_EVERY] = {
        .name = "every", .type = CB_TYPE_DURATION, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE), .value = "DURATION", .min = 60, .max = 31622400,
        .summary = "again and again at this distance, such as 15m or 6h",
        .detail = "A crontab knows only minutes that divide an hour and hours that divide a day.",
    },
    [CB_OPT_KIND] = {
        .name = "kind", .type = CB_TYPE_CHOICE, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE), .value = "KIND", .choices = "auto|systemd|cron|launchd",
        .fallback = "auto",
        .summary = "what runs it; auto takes what the system has",
    },
    [CB_OPT_LOG_FILE] = {
        .name = "log-file", .type = CB_TYPE_PATH, .commands = CB_FOR(SCHEDULE), .value = "FILE",
        .summary = "where the scheduled runs write what they say",
        .detail = "Default: ~/.local/state/canvasback/NAME.log, for root "
                  "/var/log/canvasback/NAME.log.",
    },
    [CB_OPT_INSTALL] = {
        .name = "install", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE),
        .summary = "install it, instead of printing it",
    },
    [CB_OPT_LIST] = {
        .name = "list", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE),
        .summary = "list what is installed",
    },
    [CB_OPT_REMOVE] = {
        .name = "remove", .type = CB_TYPE_NAME, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(SCHEDULE), .value = "NAME",
        .summary = "remove what is installed for this name",
    },

    [CB_OPT_MAN] = {
        .name = "man", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(HELP),
        .summary = "print the manual page, in roff",
    },
    [CB_OPT_CONFIG_EXAMPLE] = {
        .name = "config-example", .type = CB_TYPE_FLAG, .flags = CB_OPTION_LINE_ONLY,
        .commands = CB_FOR(HELP),
        .summary = "print a configuration file with every setting",
    },
};
// clang-format on

/* Is the text `name` of `size` bytes, with '_' for '-', the word `word`? */
static bool is_same_name(const char *word, const char *name, size_t size)
{
    if (strlen(word) != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((name[i] == '_' ? '-' : name[i]) != word[i])
            return false;
    return true;
}

static cb_option_id find_exact(const char *name, size_t size)
{
    for (unsigned i = 0; i < CB_OPT_END; i++)
        if (is_same_name(cb_options[i].name, name, size))
            return (cb_option_id)i;
    return CB_OPT_END;
}

/* "no-json" undoes json; "create" undoes no-create. */
static cb_option_id find_negated(const char *name, size_t size)
{
    for (unsigned i = 0; i < CB_OPT_END; i++) {
        const char *word = cb_options[i].name;

        if (cb_options[i].type != CB_TYPE_FLAG || i == CB_OPT_HELP || i == CB_OPT_VERSION)
            continue;
        if (cb_has_prefix(word, "no-") && is_same_name(word + 3, name, size))
            return (cb_option_id)i;
        if (size > 3 && memcmp(name, "no", 2) == 0 && (name[2] == '-' || name[2] == '_') &&
            is_same_name(word, name + 3, size - 3))
            return (cb_option_id)i;
    }
    return CB_OPT_END;
}

cb_option_id cb_option_find(const char *name, size_t size, bool *negated)
{
    cb_option_id id = find_exact(name, size);

    if (negated)
        *negated = false;
    if (id != CB_OPT_END || !negated)
        return id;
    id = find_negated(name, size);
    *negated = id != CB_OPT_END;
    return id;
}

cb_option_id cb_option_find_letter(char letter)
{
    for (unsigned i = 0; i < CB_OPT_END; i++)
        if (letter != 0 && cb_options[i].letter == letter)
            return (cb_option_id)i;
    return CB_OPT_END;
}

bool cb_option_applies(cb_option_id id, cb_command_id command)
{
    return (cb_options[id].commands >> command & 1) != 0;
}

const char *cb_option_variable(cb_option_id id, char out[CB_OPTION_VARIABLE_MAX])
{
    static const char prefix[] = "CANVASBACK_";
    const char *name = cb_options[id].name;
    size_t at = sizeof(prefix) - 1;

    memcpy(out, prefix, at);
    for (; *name && at + 1 < CB_OPTION_VARIABLE_MAX; name++, at++) {
        out[at] = *name;
        if (*name == '-')
            out[at] = '_';
        else if (*name >= 'a' && *name <= 'z')
            out[at] = (char)(*name - 'a' + 'A');
    }
    out[at] = '\0';
    return out;
}

const char *cb_choice_at(const char *choices, size_t n, size_t *size)
{
    const char *at = choices;

    for (; n > 0; n--) {
        at = strchr(at, '|');
        if (!at)
            return NULL;
        at++;
    }
    *size = strcspn(at, "|");
    return at;
}

const char *cb_option_suggest(const char *name, cb_command_id command)
{
    const char *best = NULL;
    unsigned best_distance = 4; /* more than three slips is another word */

    for (unsigned i = 0; i < CB_OPT_END; i++) {
        unsigned distance;

        if (command != CB_COMMAND_END && !cb_option_applies((cb_option_id)i, command))
            continue;
        distance = cb_text_distance(name, cb_options[i].name);
        if (distance < best_distance && 2 * distance < strlen(name) + 1) {
            best_distance = distance;
            best = cb_options[i].name;
        }
    }
    return best;
}
