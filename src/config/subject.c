#include "config/subject.h"

#include "base/text.h"

#include <string.h>

static bool copy_name(const char *text, size_t size, char out[CB_NAME_TEXT_MAX])
{
    out[0] = '\0';
    if (size == 0 || size >= CB_NAME_TEXT_MAX)
        return false;
    memcpy(out, text, size);
    out[size] = '\0';
    if (cb_is_name(out))
        return true;
    out[0] = '\0';
    return false;
}

/* Behind one of these, if it stands there. */
static const char *behind(const char *address, const char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cb_has_prefix(address, prefixes[i]))
            return address + strlen(prefixes[i]);
    return NULL;
}

bool cb_is_lake_address(const char *address)
{
    return cb_has_prefix(address, "ducklake:");
}

/* ---- PostgreSQL --------------------------------------------------------------------------- */

/* "user@host:5432/lake?x=y" */
static bool name_of_uri(const char *uri, char out[CB_NAME_TEXT_MAX])
{
    const char *slash = strchr(uri, '/');

    out[0] = '\0';
    return slash && copy_name(slash + 1, strcspn(slash + 1, "?"), out);
}

/* One value of a libpq string, at *at, without its quotes; too long is cut, and then no name. */
static void take_value(const char **at, char out[CB_NAME_TEXT_MAX + 1])
{
    bool is_quoted = **at == '\'';
    const char *c = *at + is_quoted;
    size_t size = 0;

    while (*c && (is_quoted ? *c != '\'' : *c != ' ')) {
        if (*c == '\\' && c[1])
            c++;
        if (size < CB_NAME_TEXT_MAX)
            out[size++] = *c;
        c++;
    }
    out[size] = '\0';
    *at = c + (is_quoted && *c == '\'');
}

/* "dbname=lake host=db1": the last of a key counts, as for libpq. */
static bool name_of_conninfo(const char *text, char out[CB_NAME_TEXT_MAX])
{
    char value[CB_NAME_TEXT_MAX + 1];
    bool found = false;

    out[0] = '\0';
    for (const char *at = text; *at;) {
        const char *key = at + strspn(at, " ");
        size_t size = strcspn(key, " =");

        at = key + size;
        at += strspn(at, " ");
        if (*at != '=')
            return found;
        at++;
        at += strspn(at, " ");
        take_value(&at, value);
        if (size == strlen("dbname") && memcmp(key, "dbname", size) == 0)
            found = copy_name(value, strlen(value), out);
    }
    return found;
}

/* ---- names -------------------------------------------------------------------------------- */

static bool name_of_path(const char *path, char out[CB_NAME_TEXT_MAX])
{
    const char *base;
    /* The settings of an object store's address are no part of the object's name. */
    size_t size = strstr(path, "://") ? strcspn(path, "?") : strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    base = memrchr(path, '/', size);
    base = base ? base + 1 : path;
    size -= (size_t)(base - path);
    /* The last suffix goes; a name that begins with a dot has none. */
    for (size_t i = size; i > 1; i--) {
        if (base[i - 1] == '.') {
            size = i - 1;
            break;
        }
    }
    return copy_name(base, size, out);
}

bool cb_subject_of_source(const char *address, char out[CB_NAME_TEXT_MAX])
{
    static const char *const files[] = {"duckdb:", "sqlite:", "dir:", "file://"};
    static const char *const uris[] = {"postgres://", "postgresql://", "postgres:postgres://",
                                       "postgres:postgresql://"};
    static const char *const strings[] = {"postgres:", "postgresql:"};
    const char *rest;

    if (cb_is_lake_address(address)) {
        address += strlen("ducklake:");
        rest = behind(address, uris, CB_LENGTH(uris));
        if (rest)
            return name_of_uri(rest, out);
        rest = behind(address, strings, CB_LENGTH(strings));
        if (rest)
            return name_of_conninfo(rest, out);
    }
    for (size_t i = 0; i < CB_LENGTH(files); i++)
        if (cb_has_prefix(address, files[i]))
            address += strlen(files[i]);
    return name_of_path(address, out);
}

bool cb_subject_of_backup(const char *backup, char out[CB_NAME_TEXT_MAX])
{
    out[0] = '\0';
    if (strpbrk(backup, ":/"))
        return false;
    return copy_name(backup, strcspn(backup, "@"), out);
}

bool cb_is_cut_address(const char *const *words, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        if (cb_has_prefix(words[i], "ducklake:postgres") && strchr(words[i + 1], '='))
            return true;
    return false;
}

/* ---- secrets ------------------------------------------------------------------------------ */

bool cb_has_password(const char *address)
{
    static const char key[] = "password";
    const char *authority = strstr(address, "://");

    for (const char *at = strstr(address, key); at; at = strstr(at + 1, key)) {
        const char *sign = at + sizeof(key) - 1;

        if (sign[strspn(sign, " ")] == '=')
            return true;
    }
    if (!authority)
        return false;
    authority += strlen("://");
    for (size_t i = 0, colon = 0; authority[i] && !strchr("/?", authority[i]); i++) {
        if (authority[i] == '@')
            return colon != 0;
        if (authority[i] == ':')
            colon = i + 1;
    }
    return false;
}
