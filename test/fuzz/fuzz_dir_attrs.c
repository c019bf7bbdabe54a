/*
 * The attributes of a folder's item, and its paths: the first bytes up to a NUL are taken for a
 * path, the rest for a record. What is called safe has no way up in it; what parses holds together.
 */
#include "fuzz.h"

#include "source/dir/dir_internal.h"

static void look_at_path(const char *path)
{
    if (!cb_dir_path_is_safe(path))
        return;
    FUZZ_CHECK(path[0] != '/' && path[0] != '\0');
    FUZZ_CHECK(strstr(path, "//") == NULL && strcmp(path, "..") != 0);
    FUZZ_CHECK(strncmp(path, "../", 3) != 0 && strstr(path, "/../") == NULL);
    FUZZ_CHECK(path[strlen(path) - 1] != '/');
    FUZZ_CHECK(cb_dir_parent_size(path) < strlen(path));
    FUZZ_CHECK(cb_item_path_compare(path, path) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\0', size);
    cb_error err = {0};
    cb_dir_attrs attrs;
    cb_bytes record;

    if (end == NULL)
        return 0;
    look_at_path((const char *)data);
    record = cb_bytes_of(end + 1, size - (size_t)(end + 1 - data));
    if (cb_dir_attrs_parse(record, &attrs, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_CORRUPT);
        return 0;
    }
    FUZZ_CHECK((attrs.mode & S_IFMT) != 0);
    FUZZ_CHECK(S_ISLNK(attrs.mode) == (attrs.link != NULL));
    FUZZ_CHECK(attrs.link == NULL || attrs.link[0] != '\0');
    FUZZ_CHECK(attrs.same_as == NULL || attrs.same_as[0] != '\0');
    FUZZ_CHECK(cb_dir_attrs_equal(&attrs, &attrs));
    return 0;
}
